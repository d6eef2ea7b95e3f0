// A libcuda.so.1 that runs kprof's kernels on the CPU, so that the program's own path to a GPU (loading, launches, events,
// graphs, memory pools, errors) runs unchanged in tests on machines without one.
//
// Work is done when it is asked for, except while a stream is captured. Memory ends at a page that nobody may touch and
// begins as NaNs. What a test wants otherwise it says in the environment:
//   KPROF_STAND_IN_DRIVER=12000      the CUDA version the driver says it has
//   KPROF_STAND_IN_CAPABILITY=86     the compute capability of each
//   KPROF_STAND_IN_DEVICES=2         how many devices there are; CUDA_VISIBLE_DEVICES leaves some of them
//   KPROF_STAND_IN_MIG=1g.10gb       they are MIG instances of this profile
//   KPROF_STAND_IN_MEMORY=100000000  bytes of memory of each
//   KPROF_STAND_IN_OTHERS=5000000    bytes of it that others take once the first kernel was launched
//   KPROF_STAND_IN_REFUSES=222       the error that every module is answered with
//   KPROF_STAND_IN_FAULTS=NAME       the kernel after which the context is lost
//   KPROF_STAND_IN_LOG=FILE          where all that the device does is told, a line each: a kernel's name, "event", "memset BYTES"
//   KPROF_STAND_IN_COUNTS=FILE       where the numbers of launches, graph launches and captures are written at the end
#include "all.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <sstream>

typedef int Result;
typedef unsigned long long Pointer;
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    NOT_FOUND = 500,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
};

namespace {

long number(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text ? atol(text) : otherwise;
}

void uuid_of(unsigned char* uuid, int device) {
    for (int i = 0; i < 16; i++) uuid[i] = (unsigned char)(16 * i + device);
}

/// The devices that CUDA_VISIBLE_DEVICES leaves, by number or by the beginning of a UUID, up to the first that is none.
const std::vector<int>& visible() {
    static const std::vector<int> found = [] {
        std::vector<int> devices;
        int count = (int)number("KPROF_STAND_IN_DEVICES", 1);
        const char* set = getenv("CUDA_VISIBLE_DEVICES");
        if (!set) {
            for (int i = 0; i < count; i++) devices.push_back(i);
            return devices;
        }
        std::stringstream entries(set);
        for (std::string entry; std::getline(entries, entry, ',');) {
            int which = -1;
            if (entry.rfind("GPU-", 0) == 0 || entry.rfind("MIG-", 0) == 0) {
                for (int i = 0; i < count; i++) {
                    unsigned char uuid[16];
                    char digits[9];
                    uuid_of(uuid, i);
                    snprintf(digits, sizeof digits, "%02x%02x%02x%02x", uuid[0], uuid[1], uuid[2], uuid[3]);
                    if (std::string(digits).rfind(entry.substr(4, 8), 0) == 0) which = i;
                }
            } else if (!entry.empty() && isdigit(entry[0])) {
                which = atoi(entry.c_str());
            }
            if (which < 0 || which >= count) break;
            devices.push_back(which);
        }
        return devices;
    }();
    return found;
}

double now_ms() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

struct Event {
    double ms = -1.0;
};

struct Function {
    std::string name;
    const emulation::Kernel* kernel;
    int most_shared = 48 << 10;
};

struct Command {
    Function* function = nullptr;  // or an event, or a filling of memory
    Index grid = {}, block = {};
    size_t shared = 0;
    std::vector<char> args;
    Event* event = nullptr;
    void* memory = nullptr;
    size_t bytes = 0;
    int value = 0;
    // What a library asked for, under a kernel's name.
    std::function<void()> work;
    std::string name;
};

struct Stream {
    bool capturing = false;
    std::vector<Command> captured;
};

struct Graph {
    std::vector<Command> commands;
};

struct Module {
    std::string text;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

struct Allocation {
    char* pages;
    size_t length, bytes;
};

std::map<Pointer, Allocation> allocations;
// Of memory: used, at most, and what the pool has of the device, which is more until it is trimmed.
size_t used, most_used, reserved;
size_t launches, graph_launches, captures;
Result lost = SUCCESS;
const char* running = "";
// A profiler's library is told of every kernel: its name, grid, block, dynamic shared memory, beginning and end in ms.
void (*ran)(const char*, const unsigned*, const unsigned*, unsigned, double, double);

void crashed(int) {
    const char* parts[] = {"stand-in: kernel ", running, " touched memory that is not its own\n"};
    for (const char* part : parts)
        if (write(2, part, strlen(part)) < 0) break;
    _exit(139);
}

void write_counts() {
    if (const char* path = getenv("KPROF_STAND_IN_COUNTS"))
        if (FILE* file = fopen(path, "w")) {
            fprintf(file, "launches %zu\ngraph_launches %zu\ncaptures %zu\nbytes_left %zu\n", launches, graph_launches,
                    captures, used);
            fclose(file);
        }
}

void tell(const std::string& line) {
    static FILE* file = getenv("KPROF_STAND_IN_LOG") ? fopen(getenv("KPROF_STAND_IN_LOG"), "w") : nullptr;
    if (file) fprintf(file, "%s\n", line.c_str());
}

Result run(const Command& c) {
    if (lost) return lost;
    if (c.event) {
        tell("event");
        c.event->ms = now_ms();
        return SUCCESS;
    }
    if (c.memory) {
        tell("memset " + std::to_string(c.bytes));
        memset(c.memory, c.value, c.bytes);
        return SUCCESS;
    }
    launches++;
    running = c.function ? c.function->name.c_str() : c.name.c_str();
    tell(running);
    const char* faulty = getenv("KPROF_STAND_IN_FAULTS");
    if (faulty && !strcmp(running, faulty)) {
        // A device says so at a later call, unless launches wait for their end.
        lost = ILLEGAL_ADDRESS;
        return number("CUDA_LAUNCH_BLOCKING", 0) ? lost : SUCCESS;
    }
    const double began = now_ms();
    bool whole = true;
    if (c.work) c.work();
    else whole = emulation::launch(*c.function->kernel, c.grid, c.block, c.shared, c.args.data());
    if (ran) {
        const unsigned grid[3] = {c.grid.x, c.grid.y, c.grid.z}, block[3] = {c.block.x, c.block.y, c.block.z};
        ran(running, grid, block, (unsigned)c.shared, began, now_ms());
    }
    if (whole) return SUCCESS;
    fprintf(stderr, "stand-in: %s waits at a barrier that not all its threads reach\n", running);
    return lost = LAUNCH_FAILED;
}

/// What the device has for this process: all of it but what others took.
size_t memory() {
    const size_t total = (size_t)number("KPROF_STAND_IN_MEMORY", 1l << 30);
    const size_t others = launches ? (size_t)number("KPROF_STAND_IN_OTHERS", 0) : 0;
    return total - std::min(total, others);
}

Result submit(void* stream, Command command) {
    if (Stream* s = (Stream*)stream; s && s->capturing) {
        s->captured.push_back(std::move(command));
        return SUCCESS;
    }
    return run(command);
}

}  // namespace

extern "C" {
// Not of the driver: for the stand-ins of libraries.
Result kprofStandInSubmit(void* stream, const char* name, const std::function<void()>* work) {
    Command command;
    command.work = *work;
    command.name = name;
    command.grid = command.block = {1, 1, 1};
    return submit(stream, std::move(command));
}
void kprofStandInNote(const char* line) { tell(line); }
void kprofStandInTell(void (*whom)(const char*, const unsigned*, const unsigned*, unsigned, double, double)) { ran = whom; }

Result cuInit(unsigned) {
    static bool once = false;
    if (!once) {
        once = true;
        atexit(write_counts);
        static char stack[1 << 16];
        stack_t alternate = {};
        alternate.ss_sp = stack;
        alternate.ss_size = sizeof stack;
        sigaltstack(&alternate, nullptr);
        struct sigaction action = {};
        action.sa_handler = crashed;
        action.sa_flags = SA_ONSTACK;
        sigaction(SIGSEGV, &action, nullptr);
    }
    return visible().empty() ? NO_DEVICE : SUCCESS;
}
Result cuDriverGetVersion(int* version) {
    *version = (int)number("KPROF_STAND_IN_DRIVER", 12000);
    return SUCCESS;
}
Result cuDeviceGetCount(int* count) {
    *count = (int)visible().size();
    return SUCCESS;
}
Result cuDeviceGet(int* device, int ordinal) {
    if (ordinal < 0 || ordinal >= (int)visible().size()) return INVALID_DEVICE;
    *device = visible()[ordinal];
    return SUCCESS;
}
Result cuDeviceGetName(char* name, int length, int) {
    const char* mig = getenv("KPROF_STAND_IN_MIG");
    snprintf(name, length, "kprof stand-in%s%s", mig ? " MIG " : "", mig ? mig : "");
    return SUCCESS;
}
Result cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
    uuid_of(uuid, device);
    return SUCCESS;
}
Result cuDeviceGetUuid(unsigned char* uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }
Result cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = (size_t)number("KPROF_STAND_IN_MEMORY", 1l << 30);
    return SUCCESS;
}
Result cuDeviceGetAttribute(int* value, int attribute, int) {
    switch (attribute) {
        case 10: *value = 32; break;         // threads of a warp
        case 16: *value = 2; break;          // multiprocessors
        case 38: *value = 1 << 20; break;    // bytes of L2
        case 75: *value = (int)number("KPROF_STAND_IN_CAPABILITY", 80) / 10; break;  // compute capability, major
        case 76: *value = (int)number("KPROF_STAND_IN_CAPABILITY", 80) % 10; break;  // minor
        case 97: *value = 160 << 10; break;  // shared memory that a block may ask for
        case 115: *value = 1; break;         // memory pools
        default: *value = 0; break;
    }
    return SUCCESS;
}
Result cuDevicePrimaryCtxRetain(void** context, int) {
    *context = (void*)0x10;
    return SUCCESS;
}
Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
Result cuCtxSetCurrent(void*) { return SUCCESS; }
Result cuCtxGetCurrent(void** context) {
    *context = (void*)0x10;
    return SUCCESS;
}
Result cuCtxSynchronize() { return lost; }
Result cuMemGetInfo_v2(size_t* free, size_t* total) {
    cuDeviceTotalMem_v2(total, 0);
    *free = memory() - std::min(memory(), reserved);
    return SUCCESS;
}

Result cuStreamCreate(void** stream, unsigned) {
    *stream = new Stream;
    return SUCCESS;
}
Result cuStreamDestroy_v2(void* stream) {
    delete (Stream*)stream;
    return SUCCESS;
}
Result cuStreamSynchronize(void* stream) { return stream && ((Stream*)stream)->capturing ? CAPTURE_UNSUPPORTED : lost; }
Result cuStreamBeginCapture_v2(void* stream, int) {
    Stream* s = (Stream*)stream;
    if (!s) return CAPTURE_UNSUPPORTED;
    s->capturing = true;
    s->captured.clear();
    captures++;
    return SUCCESS;
}
Result cuStreamEndCapture(void* stream, void** graph) {
    Stream* s = (Stream*)stream;
    if (!s->capturing) return CAPTURE_INVALIDATED;
    s->capturing = false;
    *graph = new Graph{std::move(s->captured)};
    return SUCCESS;
}
Result cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
    *executable = new Graph(*(Graph*)graph);
    return SUCCESS;
}
Result cuGraphUpload(void*, void*) { return SUCCESS; }
Result cuGraphLaunch(void* executable, void*) {
    graph_launches++;
    for (auto& command : ((Graph*)executable)->commands)
        if (Result r = run(command)) return r;
    return SUCCESS;
}
Result cuGraphDestroy(void* graph) {
    delete (Graph*)graph;
    return SUCCESS;
}
Result cuGraphExecDestroy(void* executable) {
    delete (Graph*)executable;
    return SUCCESS;
}

Result cuEventCreate(void** event, unsigned) {
    *event = new Event;
    return SUCCESS;
}
Result cuEventDestroy_v2(void* event) {
    delete (Event*)event;
    return SUCCESS;
}
// As of a GPU: what a capture records without the flag for it is an edge of the graph, and has no time.
Result cuEventRecordWithFlags(void* event, void* stream, unsigned flags) {
    Command command;
    command.event = (Event*)event;
    if (stream && ((Stream*)stream)->capturing && flags != 1) return SUCCESS;
    return submit(stream, command);
}
Result cuEventRecord(void* event, void* stream) { return cuEventRecordWithFlags(event, stream, 0); }
Result cuEventSynchronize(void*) { return lost; }
Result cuEventQuery(void*) { return lost; }
Result cuEventElapsedTime(float* ms, void* from, void* to) {
    const double a = ((Event*)from)->ms, b = ((Event*)to)->ms;
    if (a < 0 || b < 0) return INVALID_VALUE;
    *ms = (float)(b - a);
    return lost;
}

Result cuModuleLoadDataEx(void** module, const void* image, unsigned, int*, void**) {
    if (long refused = number("KPROF_STAND_IN_REFUSES", 0)) return (Result)refused;
    // PTX with the kernels that are asked for later, or it is not what the program should have sent.
    *module = new Module{(const char*)image, {}};
    return SUCCESS;
}
Result cuModuleLoadData(void** module, const void* image) { return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr); }
Result cuModuleUnload(void* module) {
    delete (Module*)module;
    return SUCCESS;
}
Result cuModuleGetFunction(void** function, void* module, const char* name) {
    Module* m = (Module*)module;
    auto kernel = emulation::kernels().find(name);
    if (kernel == emulation::kernels().end()) return NOT_FOUND;
    if (m->text.find(std::string(".entry ") + name + "(") == std::string::npos) return NOT_FOUND;
    auto& f = m->functions[name];
    if (!f) f.reset(new Function{name, &kernel->second});
    *function = f.get();
    return SUCCESS;
}
Result cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute == 8) ((Function*)function)->most_shared = value;
    return SUCCESS;
}
Result cuFuncGetAttribute(int* value, int, void*) {
    *value = 0;
    return SUCCESS;
}
Result cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                      unsigned shared, void* stream, void** args, void**) {
    Function* f = (Function*)function;
    const bool grid_fits = gx > 0 && gy > 0 && gz > 0 && gy <= 65535 && gz <= 65535;
    if (!grid_fits || by != 1 || bz != 1 || bx == 0 || (int)bx > f->kernel->threads || (int)shared > f->most_shared)
        return INVALID_VALUE;
    Command command;
    command.function = f;
    command.grid = {gx, gy, gz};
    command.block = {bx, by, bz};
    command.shared = shared;
    command.args.assign((char*)args[0], (char*)args[0] + f->kernel->args);
    return submit(stream, std::move(command));
}

Result cuMemAllocAsync(Pointer* pointer, size_t bytes, void* stream) {
    if (stream && ((Stream*)stream)->capturing) return CAPTURE_UNSUPPORTED;
    if (bytes == 0) return INVALID_VALUE;
    if (used + bytes > memory()) return OUT_OF_MEMORY;
    const size_t page = 4096, whole = (bytes + 15) / 16 * 16, length = (whole + page - 1) / page * page + page;
    char* pages = (char*)mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(pages + length - page, page, PROT_NONE);
    char* at = pages + length - page - whole;
    memset(at, 0xff, whole);
    *pointer = (Pointer)at;
    allocations[*pointer] = {pages, length, bytes};
    used += bytes;
    most_used = std::max(most_used, used);
    reserved = std::max(reserved, used);
    return lost;
}
Result cuMemFreeAsync(Pointer pointer, void*) {
    auto found = allocations.find(pointer);
    if (found == allocations.end()) return INVALID_VALUE;
    munmap(found->second.pages, found->second.length);
    used -= found->second.bytes;
    allocations.erase(found);
    return SUCCESS;
}
Result cuMemAllocHost_v2(void** pointer, size_t bytes) {
    *pointer = malloc(bytes);
    return *pointer ? SUCCESS : OUT_OF_MEMORY;
}
Result cuMemFreeHost(void* pointer) {
    free(pointer);
    return SUCCESS;
}
Result cuMemcpyHtoDAsync_v2(Pointer to, const void* from, size_t bytes, void* stream) {
    if (stream && ((Stream*)stream)->capturing) return CAPTURE_UNSUPPORTED;
    memcpy((void*)to, from, bytes);
    return lost;
}
Result cuMemcpyDtoHAsync_v2(void* to, Pointer from, size_t bytes, void* stream) {
    if (stream && ((Stream*)stream)->capturing) return CAPTURE_UNSUPPORTED;
    memcpy(to, (void*)from, bytes);
    return lost;
}
Result cuMemsetD8Async(Pointer to, unsigned char value, size_t bytes, void* stream) {
    Command command;
    command.memory = (void*)to;
    command.bytes = bytes;
    command.value = value;
    return submit(stream, command);
}
Result cuDeviceGetDefaultMemPool(void** pool, int) {
    *pool = (void*)0x30;
    return SUCCESS;
}
Result cuMemPoolGetAttribute(void*, int attribute, void* value) {
    switch (attribute) {
        case 5: *(uint64_t*)value = reserved; break;            // reserved now
        case 7: *(uint64_t*)value = used; break;                // used now
        case 6: case 8: *(uint64_t*)value = most_used; break;   // and at most
        default: *(uint64_t*)value = 0; break;
    }
    return SUCCESS;
}
Result cuMemPoolTrimTo(void*, size_t least) {
    reserved = std::max(used, std::min(reserved, least));
    return SUCCESS;
}
Result cuMemPoolSetAttribute(void*, int attribute, void*) {
    if (attribute == 6 || attribute == 8) most_used = used;
    return SUCCESS;
}
Result cuProfilerStart() { return SUCCESS; }
Result cuProfilerStop() { return SUCCESS; }
Result cuGetErrorName(int code, const char** name) {
    static const std::map<int, const char*> names = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"}, {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
        {209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
        {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS"},
        {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED"}, {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}};
    auto found = names.find(code);
    *name = found == names.end() ? "CUDA_ERROR_UNKNOWN" : found->second;
    return SUCCESS;
}
Result cuGetErrorString(int code, const char** text) { return cuGetErrorName(code, text); }
}
