// A libcupti.so.12 that tells of the kernels of the stand-in for the driver, so that the program's own path to CUPTI (buffers,
// records, ranges, passes, errors) runs unchanged in tests on machines without a GPU. Counters are made up from how many
// kernels a range had: 100 FFMA, 10 FADD, 5 FMUL, 4096 B of DRAM each. What a test wants otherwise it says in the environment:
//   KPROF_STAND_IN_CUPTI=28                          the API version that it says it has
//   KPROF_STAND_IN_CUPTI_FAILS=cuptiXyz=35           a function, and the result that it answers with
//   KPROF_STAND_IN_CUPTI_DROPPED=3                   records that it says were dropped
//   KPROF_STAND_IN_CUPTI_UNSUPPORTED=1               that the device cannot be counted on
#include <dlfcn.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

typedef int Result;
enum { SUCCESS = 0, INVALID_PARAMETER = 1, INVALID_OPERATION = 7, MAX_LIMIT_REACHED = 12, UNKNOWN = 999 };
enum { KIND_DRIVER = 4, KIND_CONCURRENT_KERNEL = 10, KIND_EXTERNAL_CORRELATION = 39 };

// As in cupti_activity.h: number 9, of CUDA 12.
struct __attribute__((packed, aligned(8))) Kernel {
    uint32_t kind;
    uint8_t cache_config, shared_config;
    uint16_t registers;
    uint32_t partitioned[2];
    uint64_t start, end, completed;
    uint32_t device, context, stream;
    int32_t grid[3], block[3], static_shared, dynamic_shared;
    uint32_t local_per_thread, local_total, correlation;
    int64_t grid_id;
    const char* name;
    void* reserved;
    uint64_t queued, submitted;
    uint8_t launch_type, carveout[3];
    uint32_t shared_executed;
    uint64_t graph_node;
    uint32_t rest[16];
};
struct External {
    uint32_t kind, external_kind;
    uint64_t external;
    uint32_t correlation, reserved;
};
// A call of the driver: what a reader that does not want it has to step over.
struct Api {
    uint32_t kind, callback;
    uint64_t start, end;
    uint32_t process, thread, correlation, value;
};
static_assert(sizeof(External) == 24 && sizeof(Api) == 40 && sizeof(Kernel) % 8 == 0, "as in cupti_activity.h");

namespace {

void (*requested)(uint8_t**, size_t*, size_t*);
void (*completed)(void*, uint32_t, uint8_t*, size_t, size_t);
std::set<uint32_t> enabled;
std::vector<uint64_t> external;
uint32_t correlation;
uint8_t* buffer;
size_t capacity, used;

// Counting: kernels of the range that is open, and those of each range by its name.
bool counting, open;
size_t kernels;
std::string range;
std::vector<std::pair<std::string, size_t>> ranges;
std::vector<std::pair<std::string, size_t>> before;
size_t passes_done, most_ranges;
const size_t PASSES = 3;

const char* const BASES[] = {
    "gpu__time_duration", "dram__bytes", "sm__cycles_elapsed", "dram__cycles_elapsed",
    "sm__sass_thread_inst_executed_op_dadd_pred_on", "sm__sass_thread_inst_executed_op_dmul_pred_on",
    "sm__sass_thread_inst_executed_op_dfma_pred_on", "sm__sass_thread_inst_executed_op_fadd_pred_on",
    "sm__sass_thread_inst_executed_op_fmul_pred_on", "sm__sass_thread_inst_executed_op_ffma_pred_on",
    "sm__sass_thread_inst_executed_op_hadd_pred_on", "sm__sass_thread_inst_executed_op_hmul_pred_on",
    "sm__sass_thread_inst_executed_op_hfma_pred_on", "sm__ops_path_tensor_src_bf16_dst_fp32",
    "sm__ops_path_tensor_src_fp16_dst_fp16", "sm__ops_path_tensor_src_fp16_dst_fp32",
    "sm__ops_path_tensor_src_tf32_dst_fp32"};

Result fails(const char* function) {
    const char* text = getenv("KPROF_STAND_IN_CUPTI_FAILS");
    const size_t length = strlen(function);
    if (text && !strncmp(text, function, length) && text[length] == '=') return atoi(text + length + 1);
    return SUCCESS;
}
#define MAY_FAIL \
    if (Result failed = fails(__func__)) return failed

void write(const void* record, size_t bytes) {
    if (buffer && used + bytes > capacity) {
        completed((void*)0x10, 0, buffer, capacity, used);
        buffer = nullptr;
    }
    if (!buffer) {
        size_t most = 0;
        used = 0;
        requested(&buffer, &capacity, &most);
    }
    memcpy(buffer + used, record, bytes);
    used += bytes;
}

void ran(const char* name, const unsigned* grid, const unsigned* block, unsigned dynamic, double from, double to) {
    if (open) kernels++;
    if (!enabled.count(KIND_CONCURRENT_KERNEL)) return;
    correlation++;
    // A call's record comes with the ID around it before it; a kernel's when it is done.
    if (enabled.count(KIND_DRIVER)) {
        if (enabled.count(KIND_EXTERNAL_CORRELATION) && !external.empty()) {
            const External of = {KIND_EXTERNAL_CORRELATION, 3, external.back(), correlation, 0};
            write(&of, sizeof of);
        }
        const Api call = {KIND_DRIVER, 307, 1, 2, 0, 0, correlation, 0};
        write(&call, sizeof call);
    }
    static std::set<std::string> names;
    Kernel kernel = {};
    kernel.kind = KIND_CONCURRENT_KERNEL;
    kernel.registers = 40;
    kernel.start = (uint64_t)(from * 1e6);
    kernel.end = std::max(kernel.start + 1, (uint64_t)(to * 1e6));
    kernel.context = 1;
    kernel.stream = 7;
    for (int i = 0; i < 3; i++) kernel.grid[i] = grid[i], kernel.block[i] = block[i];
    kernel.static_shared = 1024;
    kernel.dynamic_shared = dynamic;
    kernel.correlation = correlation;
    kernel.name = names.insert(name).first->c_str();
    write(&kernel, sizeof kernel);
}

bool listen() {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    typedef void (*Tell)(void (*)(const char*, const unsigned*, const unsigned*, unsigned, double, double));
    const Tell tell = driver ? (Tell)dlsym(driver, "kprofStandInTell") : nullptr;
    if (tell) tell(ran);
    return tell;
}

double value(const std::string& metric, size_t k) {
    const auto has = [&](const char* part) { return metric.find(part) != std::string::npos; };
    if (has("tf32")) return NAN;  // a counter that says nothing
    if (has("peak_sustained")) return 64;
    if (has("per_second")) return 1e9;
    if (has("gpu__time")) return 1000.0 * k;
    if (has("dram__bytes")) return 4096.0 * k;
    if (has("ffma")) return 100.0 * k;
    if (has("fadd")) return 10.0 * k;
    if (has("fmul")) return 5.0 * k;
    return 0;
}

}  // namespace

extern "C" {
Result cuptiGetVersion(uint32_t* version) {
    const char* text = getenv("KPROF_STAND_IN_CUPTI");
    *version = text ? (uint32_t)atol(text) : 24;
    return SUCCESS;
}
Result cuptiGetResultString(Result result, const char** text) {
    static const std::map<int, const char*> names = {{1, "CUPTI_ERROR_INVALID_PARAMETER"},
                                                     {7, "CUPTI_ERROR_INVALID_OPERATION"},
                                                     {35, "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"},
                                                     {39, "CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED"}};
    const auto found = names.find(result);
    *text = found == names.end() ? "CUPTI_ERROR_UNKNOWN" : found->second;
    return SUCCESS;
}
Result cuptiActivityRegisterCallbacks(void (*request)(uint8_t**, size_t*, size_t*),
                                      void (*complete)(void*, uint32_t, uint8_t*, size_t, size_t)) {
    MAY_FAIL;
    requested = request;
    completed = complete;
    return SUCCESS;
}
Result cuptiActivityEnable(uint32_t kind) {
    MAY_FAIL;
    if (!requested || !listen()) return INVALID_OPERATION;
    enabled.insert(kind);
    return SUCCESS;
}
Result cuptiActivityDisable(uint32_t kind) {
    enabled.erase(kind);
    return SUCCESS;
}
#ifndef LACKS_FLUSH
Result cuptiActivityFlushAll(uint32_t flag) {
    MAY_FAIL;
    if (flag > 1) return INVALID_PARAMETER;
    if (buffer) completed((void*)0x10, 0, buffer, capacity, used);
    buffer = nullptr;
    return SUCCESS;
}
#endif
Result cuptiActivityGetNextRecord(uint8_t* in, size_t valid, uint32_t** record) {
    uint8_t* next = in;
    if (*record) {
        const uint32_t kind = **record;
        next = (uint8_t*)*record + (kind == KIND_EXTERNAL_CORRELATION ? sizeof(External)
                                    : kind == KIND_DRIVER             ? sizeof(Api)
                                                                      : sizeof(Kernel));
    }
    if (next >= in + valid) return MAX_LIMIT_REACHED;
    *record = (uint32_t*)next;
    return SUCCESS;
}
Result cuptiActivityGetNumDroppedRecords(void*, uint32_t, size_t* dropped) {
    const char* text = getenv("KPROF_STAND_IN_CUPTI_DROPPED");
    *dropped = text ? (size_t)atol(text) : 0;
    return SUCCESS;
}
Result cuptiActivityPushExternalCorrelationId(uint32_t kind, uint64_t id) {
    if (kind != 3) return INVALID_PARAMETER;
    external.push_back(id);
    return SUCCESS;
}
Result cuptiActivityPopExternalCorrelationId(uint32_t kind, uint64_t* last) {
    if (kind != 3 || external.empty()) return INVALID_PARAMETER;
    *last = external.back();
    external.pop_back();
    return SUCCESS;
}

#ifndef LACKS_RANGES
struct Head {
    size_t size;
    void* priv;
};
#define CHECK(bytes)                               \
    MAY_FAIL;                                      \
    if (p->head.size != (bytes) || p->head.priv) return INVALID_PARAMETER

// What the program makes and gives back, so that another's are told apart.
static int the_host, the_profiler;

struct Plain {
    Head head;
};
Result cuptiProfilerInitialize(Plain* p) {
    CHECK(16);
    return SUCCESS;
}
struct Supported {
    Head head;
    int device;
    uint32_t supported, parts[6], api;
};
Result cuptiProfilerDeviceSupported(Supported* p) {
    CHECK(52);
    const bool not_supported = getenv("KPROF_STAND_IN_CUPTI_UNSUPPORTED");
    for (auto& part : p->parts) part = 3;
    p->supported = not_supported ? 1 : 3;
    if (not_supported) p->parts[2] = 1;
    return SUCCESS;
}
struct Availability {
    Head head;
    void* context;
    size_t bytes;
    uint8_t* image;
};
Result cuptiProfilerGetCounterAvailability(Availability* p) {
    CHECK(40);
    if (p->context != (void*)0x10) return INVALID_PARAMETER;
    p->bytes = 16;
    if (p->image) memset(p->image, 7, 16);
    return SUCCESS;
}
struct ChipName {
    Head head;
    size_t device;
    const char* name;
};
Result cuptiDeviceGetChipName(ChipName* p) {
    CHECK(32);
    p->name = "GA100";
    return SUCCESS;
}
struct HostInitialize {
    Head head;
    uint32_t kind;
    const char* chip;
    const uint8_t* available;
    void* host;
};
Result cuptiProfilerHostInitialize(HostInitialize* p) {
    CHECK(48);
    if (p->kind != 0 || strcmp(p->chip, "GA100") || (p->available && *p->available != 7)) return INVALID_PARAMETER;
    p->host = &the_host;
    return SUCCESS;
}
struct OfHost {
    Head head;
    void* host;
};
Result cuptiProfilerHostDeinitialize(OfHost* p) {
    CHECK(24);
    return p->host == &the_host ? SUCCESS : INVALID_PARAMETER;
}
struct BaseMetrics {
    Head head;
    void* host;
    uint32_t kind;
    const char* const* names;
    size_t count;
};
Result cuptiProfilerHostGetBaseMetrics(BaseMetrics* p) {
    CHECK(48);
    p->names = BASES;
    p->count = p->kind == 0 ? sizeof BASES / sizeof *BASES : 0;
    return SUCCESS;
}
struct AddMetrics {
    Head head;
    void* host;
    const char* const* names;
    size_t count;
};
Result cuptiProfilerHostConfigAddMetrics(AddMetrics* p) {
    CHECK(40);
    for (size_t i = 0; i < p->count; i++) {
        const std::string base(p->names[i], strcspn(p->names[i], "."));
        bool known = false;
        for (const char* name : BASES) known |= base == name;
        if (!known) return INVALID_PARAMETER;
    }
    return SUCCESS;
}
struct ConfigImageSize {
    Head head;
    void* host;
    size_t bytes;
};
Result cuptiProfilerHostGetConfigImageSize(ConfigImageSize* p) {
    CHECK(32);
    p->bytes = 32;
    return SUCCESS;
}
struct ConfigImage {
    Head head;
    void* host;
    size_t bytes;
    uint8_t* image;
};
Result cuptiProfilerHostGetConfigImage(ConfigImage* p) {
    CHECK(40);
    memset(p->image, 9, p->bytes);
    return SUCCESS;
}
struct Passes {
    Head head;
    size_t bytes;
    uint8_t* image;
    size_t passes;
};
Result cuptiProfilerHostGetNumOfPasses(Passes* p) {
    CHECK(40);
    p->passes = PASSES;
    return SUCCESS;
}
struct Enable {
    Head head;
    void *context, *profiler;
};
Result cuptiRangeProfilerEnable(Enable* p) {
    CHECK(32);
    if (p->context != (void*)0x10 || counting || !listen()) return INVALID_OPERATION;
    counting = true;
    passes_done = 0;
    before.clear();
    p->profiler = &the_profiler;
    return SUCCESS;
}
struct OfProfiler {
    Head head;
    void* profiler;
};
Result cuptiRangeProfilerDisable(OfProfiler* p) {
    CHECK(24);
    if (!counting || p->profiler != &the_profiler) return INVALID_OPERATION;
    counting = open = false;
    return SUCCESS;
}
struct DataSize {
    Head head;
    void* profiler;
    const char* const* names;
    size_t count, ranges;
    uint32_t nodes;
    size_t bytes;
};
Result cuptiRangeProfilerGetCounterDataSize(DataSize* p) {
    CHECK(64);
    if (p->nodes < p->ranges) return INVALID_PARAMETER;
    p->bytes = 64;
    return SUCCESS;
}
struct DataImage {
    Head head;
    void* profiler;
    size_t bytes;
    uint8_t* image;
};
Result cuptiRangeProfilerCounterDataImageInitialize(DataImage* p) {
    CHECK(40);
    memset(p->image, 1, p->bytes);
    return SUCCESS;
}
struct SetConfig {
    Head head;
    void* profiler;
    size_t config_bytes;
    const uint8_t* config;
    size_t image_bytes;
    uint8_t* image;
    uint32_t range, replay;
    size_t most;
    uint16_t levels, first;
    size_t pass;
    uint16_t target;
};
Result cuptiRangeProfilerSetConfig(SetConfig* p) {
    CHECK(90);
    if (p->config_bytes != 32 || p->config[31] != 9 || p->image_bytes != 64 || p->image[63] != 1) return INVALID_PARAMETER;
    if (p->range != 2 || p->replay != 3 || p->levels != 1 || p->first != 1 || p->target != 1) return INVALID_PARAMETER;
    most_ranges = p->most;
    return SUCCESS;
}
Result cuptiRangeProfilerStart(OfProfiler* p) {
    CHECK(24);
    ranges.clear();
    return counting ? SUCCESS : INVALID_OPERATION;
}
struct Stop {
    Head head;
    void* profiler;
    size_t pass, target;
    uint8_t all;
};
Result cuptiRangeProfilerStop(Stop* p) {
    CHECK(41);
    if (open) return INVALID_OPERATION;
    // Every pass is of the same work.
    if (passes_done > 0 && before != ranges) return UNKNOWN;
    before = ranges;
    p->pass = ++passes_done;
    p->all = passes_done == PASSES;
    return SUCCESS;
}
struct Push {
    Head head;
    void* profiler;
    const char* name;
};
Result cuptiRangeProfilerPushRange(Push* p) {
    CHECK(32);
    if (!counting || open || ranges.size() == most_ranges) return INVALID_OPERATION;
    open = true;
    kernels = 0;
    range = p->name;
    return SUCCESS;
}
Result cuptiRangeProfilerPopRange(OfProfiler* p) {
    CHECK(24);
    if (!open) return INVALID_OPERATION;
    open = false;
    ranges.emplace_back(range, kernels);
    return SUCCESS;
}
struct Decode {
    Head head;
    void* profiler;
    size_t dropped;
};
Result cuptiRangeProfilerDecodeData(Decode* p) {
    CHECK(32);
    p->dropped = 0;
    return passes_done == PASSES ? SUCCESS : INVALID_OPERATION;
}
struct DataInfo {
    Head head;
    const uint8_t* image;
    size_t bytes, ranges;
};
Result cuptiRangeProfilerGetCounterDataInfo(DataInfo* p) {
    CHECK(40);
    p->ranges = ranges.size();
    return SUCCESS;
}
struct RangeInfo {
    Head head;
    const uint8_t* image;
    size_t bytes, range;
    const char *delimiter, *name;
};
Result cuptiRangeProfilerCounterDataGetRangeInfo(RangeInfo* p) {
    CHECK(56);
    if (p->range >= ranges.size()) return INVALID_PARAMETER;
    p->name = ranges[p->range].first.c_str();
    return SUCCESS;
}
struct Evaluate {
    Head head;
    void* host;
    const uint8_t* image;
    size_t bytes, range;
    const char* const* names;
    size_t count;
    double* values;
};
Result cuptiProfilerHostEvaluateToGpuValues(Evaluate* p) {
    CHECK(72);
    if (p->range >= ranges.size() || p->host != &the_host) return INVALID_PARAMETER;
    for (size_t i = 0; i < p->count; i++) p->values[i] = value(p->names[i], ranges[p->range].second);
    return SUCCESS;
}
#endif
}
