// A libcublasLt.so.12 that computes on the CPU what its descriptors say, on the stream of the stand-in for the driver, so that
// the program's own path to the library runs unchanged in tests on machines without a GPU. Memory is column by column, as
// the library has it. What a test wants otherwise it says in the environment:
//   KPROF_STAND_IN_CUBLASLT=110501        the version that it says it has
//   KPROF_STAND_IN_CUBLASLT_LACKS=gelu    that the heuristics know nothing: of gelu, or of anything (all)
//   KPROF_STAND_IN_CUBLASLT_FAILS=1       the status that cublasLtCreate is answered with
//   KPROF_STAND_IN_PRODUCTS=FILE          where heuristics asked and products computed are counted at the end
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

typedef int Status;
enum { SUCCESS = 0, NOT_INITIALIZED = 1, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { R_32F = 0, R_16F = 2, R_16BF = 14, COMPUTE_32F = 68 };
enum { EPILOGUE_RELU = 2, EPILOGUE_BIAS = 4, EPILOGUE_GELU = 32 };

struct Description {
    int compute, scale, transposed_a = 0, transposed_b = 0;
    uint32_t epilogue = 1;
    uint64_t bias = 0;
};
struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t leading;
};
struct Preference {
    uint64_t most_workspace = 0;
    uint32_t reductions = 7;
};
struct Algorithm {
    uint64_t data[8];
};
struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    Status state;
    float waves;
    int reserved[4];
};
static_assert(sizeof(Heuristic) == 96, "as in cublasLt.h");

namespace {

// What the algorithm is known by again.
const uint64_t MARK = 0x6b70726f66;
const size_t WORKSPACE = 4096;
size_t asked, computed;

void write_counts() {
    if (const char* path = getenv("KPROF_STAND_IN_PRODUCTS"))
        if (FILE* file = fopen(path, "w")) {
            fprintf(file, "heuristics %zu\nproducts %zu\n", asked, computed);
            fclose(file);
        }
}

bool lacks(const char* what) {
    const char* text = getenv("KPROF_STAND_IN_CUBLASLT_LACKS");
    return text && strcmp(text, what) == 0;
}

float from_half(uint16_t h) {
    const int sign = h >> 15, exponent = h >> 10 & 31, fraction = h & 1023;
    const float magnitude = exponent == 0    ? std::ldexp((float)fraction, -24)
                            : exponent == 31 ? (fraction ? NAN : INFINITY)
                                             : std::ldexp((float)(fraction + 1024), exponent - 25);
    return sign ? -magnitude : magnitude;
}

// The nearest of 11 bits, ties to even.
uint16_t to_half(float x) {
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const float a = std::fabs(x);
    if (std::isnan(x)) return 0x7e00;
    if (a == 0.0f) return sign;
    if (a >= 65520.0f) return sign | 0x7c00;
    int exponent;
    std::frexp(a, &exponent);
    const int unit = std::max(exponent - 11, -24);
    const int scaled = (int)std::nearbyint(std::ldexp(a, -unit));
    // A carry out of the fraction raises the exponent by itself.
    return sign | (uint16_t)(unit == -24 ? scaled : ((unit + 25) << 10) + (scaled - 1024));
}

float load(int type, const void* memory, size_t i) {
    if (type == R_32F) return ((const float*)memory)[i];
    const uint16_t bits = ((const uint16_t*)memory)[i];
    if (type == R_16F) return from_half(bits);
    const uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}

void store(int type, void* memory, size_t i, float x) {
    if (type == R_32F) {
        ((float*)memory)[i] = x;
    } else if (type == R_16F) {
        ((uint16_t*)memory)[i] = to_half(x);
    } else {
        uint32_t bits;
        memcpy(&bits, &x, 4);
        if (!std::isnan(x)) bits += 0x7fff + (bits >> 16 & 1);
        ((uint16_t*)memory)[i] = (uint16_t)(bits >> 16);
    }
}

float activate(uint32_t epilogue, float x) {
    if (epilogue & EPILOGUE_RELU) return std::fmax(x, 0.0f);
    if (epilogue & EPILOGUE_GELU)
        return 0.5f * x * (1.0f + std::tanh(0.7978845608f * (x + 0.044715f * x * x * x)));
    return x;
}

struct Call {
    Description what;
    Layout a, b, c, d;
    const void *A, *B, *C;
    void *D, *workspace;
    float alpha, beta;
};

void compute(const Call& call) {
    const auto at = [](const Layout& l, bool transposed, size_t row, size_t column) {
        return transposed ? row * l.leading + column : column * l.leading + row;
    };
    const size_t inner = call.what.transposed_a ? call.a.rows : call.a.columns;
    // Scratch memory is the library's own until the product is done.
    memset(call.workspace, 0xab, WORKSPACE);
    for (size_t column = 0; column < call.d.columns; column++)
        for (size_t row = 0; row < call.d.rows; row++) {
            double sum = 0;
            for (size_t i = 0; i < inner; i++)
                sum += (double)load(call.a.type, call.A, at(call.a, call.what.transposed_a, row, i)) *
                       load(call.b.type, call.B, at(call.b, call.what.transposed_b, i, column));
            float x = call.alpha * (float)sum;
            if (call.beta != 0) x += call.beta * load(call.c.type, call.C, at(call.c, false, row, column));
            if (call.what.epilogue & EPILOGUE_BIAS) x += load(call.d.type, (const void*)call.what.bias, row);
            store(call.d.type, call.D, at(call.d, false, row, column), activate(call.what.epilogue, x));
        }
}

/// A line in the log of the stand-in for the driver.
void note(const char* line) {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    typedef void (*Note)(const char*);
    if (const Note tell = driver ? (Note)dlsym(driver, "kprofStandInNote") : nullptr) tell(line);
}

bool fit(const Description& what, const Layout& a, const Layout& b, const Layout& d) {
    const uint64_t m = what.transposed_a ? a.columns : a.rows, k = what.transposed_a ? a.rows : a.columns;
    const uint64_t n = what.transposed_b ? b.rows : b.columns, k2 = what.transposed_b ? b.columns : b.rows;
    return m == d.rows && n == d.columns && k == k2;
}

}  // namespace

extern "C" {
size_t cublasLtGetVersion() {
    const char* text = getenv("KPROF_STAND_IN_CUBLASLT");
    return text ? (size_t)atol(text) : 120001;
}
const char* cublasLtGetStatusString(Status status) {
    switch (status) {
        case NOT_INITIALIZED: return "the library was not initialized";
        case INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
        case NOT_SUPPORTED: return "the requested functionality is not supported";
        default: return "another status";
    }
}
#ifndef LACKS_CREATE
Status cublasLtCreate(void** handle) {
    if (const char* text = getenv("KPROF_STAND_IN_CUBLASLT_FAILS")) return atoi(text);
    atexit(write_counts);
    *handle = new int(1);
    return SUCCESS;
}
#endif
Status cublasLtDestroy(void* handle) {
    delete (int*)handle;
    return SUCCESS;
}
Status cublasLtMatmulDescCreate(void** made, int compute, int scale) {
    if (compute != COMPUTE_32F || scale != R_32F) return NOT_SUPPORTED;
    *made = new Description{compute, scale};
    return SUCCESS;
}
Status cublasLtMatmulDescDestroy(void* made) {
    delete (Description*)made;
    return SUCCESS;
}
Status cublasLtMatmulDescSetAttribute(void* made, int attribute, const void* value, size_t bytes) {
    Description* d = (Description*)made;
    if (attribute == 3 && bytes == 4) return memcpy(&d->transposed_a, value, 4), SUCCESS;
    if (attribute == 4 && bytes == 4) return memcpy(&d->transposed_b, value, 4), SUCCESS;
    if (attribute == 7 && bytes == 4) return memcpy(&d->epilogue, value, 4), SUCCESS;
    if (attribute == 8 && bytes == 8) return memcpy(&d->bias, value, 8), SUCCESS;
    return INVALID_VALUE;
}
Status cublasLtMatrixLayoutCreate(void** made, int type, uint64_t rows, uint64_t columns, int64_t leading) {
    if (type != R_32F && type != R_16F && type != R_16BF) return NOT_SUPPORTED;
    *made = new Layout{type, rows, columns, leading};
    return SUCCESS;
}
Status cublasLtMatrixLayoutDestroy(void* made) {
    delete (Layout*)made;
    return SUCCESS;
}
Status cublasLtMatmulPreferenceCreate(void** made) {
    *made = new Preference;
    return SUCCESS;
}
Status cublasLtMatmulPreferenceDestroy(void* made) {
    delete (Preference*)made;
    return SUCCESS;
}
Status cublasLtMatmulPreferenceSetAttribute(void* made, int attribute, const void* value, size_t bytes) {
    Preference* p = (Preference*)made;
    if (attribute == 1 && bytes == 8) return memcpy(&p->most_workspace, value, 8), SUCCESS;
    if (attribute == 3 && bytes == 4) return memcpy(&p->reductions, value, 4), SUCCESS;
    return INVALID_VALUE;
}
Status cublasLtMatmulAlgoGetHeuristic(void* handle, void* what, void* a, void* b, void* c, void* d, void* preference, int most,
                                      Heuristic* found, int* count) {
    asked++;
    note("heuristic");
    *count = 0;
    const Description& description = *(Description*)what;
    if (!handle || most < 1 || !fit(description, *(Layout*)a, *(Layout*)b, *(Layout*)d)) return INVALID_VALUE;
    if (lacks("all") || (lacks("gelu") && description.epilogue & EPILOGUE_GELU)) return NOT_SUPPORTED;
    const Preference& p = *(Preference*)preference;
    // Parts are to be joined in the type of the sums.
    if (p.most_workspace < WORKSPACE || p.reductions != 2) return NOT_SUPPORTED;
    *found = Heuristic{};
    found->algorithm.data[0] = MARK;
    found->workspace = WORKSPACE;
    *count = 1;
    return SUCCESS;
}
Status cublasLtMatmul(void* handle, void* what, const void* alpha, const void* A, void* a, const void* B, void* b,
                      const void* beta, const void* C, void* c, void* D, void* d, const Algorithm* algorithm, void* workspace,
                      size_t bytes, void* stream) {
    if (!handle || !algorithm || algorithm->data[0] != MARK || bytes < WORKSPACE || !workspace) return INVALID_VALUE;
    Call call{*(Description*)what, *(Layout*)a, *(Layout*)b, *(Layout*)c, *(Layout*)d, A, B, C, D, workspace,
              *(const float*)alpha, *(const float*)beta};
    if (!fit(call.what, call.a, call.b, call.d)) return INVALID_VALUE;
    if (call.what.epilogue & EPILOGUE_BIAS && !call.what.bias) return INVALID_VALUE;
    // The stand-in for the driver is loaded: the library needs its context.
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    typedef int (*Submit)(void*, const char*, const std::function<void()>*);
    const Submit submit = driver ? (Submit)dlsym(driver, "kprofStandInSubmit") : nullptr;
    if (!submit) return NOT_INITIALIZED;
    computed++;
    const std::function<void()> work = [call] { compute(call); };
    return submit(stream, "stand_in_gemm", &work) ? 13 : SUCCESS;
}
}
