// Runs the kernels of kernels/*.cu on the CPU, one fiber per CUDA thread: for tests on machines without a GPU.
//
// Exact in meaning: __syncthreads and warp collectives as barriers, shared memory, atomics, the fragments of mma, whose sums
// are cut off as tensor cores do, and of ldmatrix. Stricter than a GPU: cp.async writes only when it is waited for, dynamic
// shared memory begins as NaNs, and a barrier that not all threads reach is an error with the kernel's name. Blocks run one
// after another.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#define DEVICE static inline
#define DEVICE_CALLED static
#define SHARED static
#define __align__(n) __attribute__((aligned(n)))

struct uint2 {
    u32 x, y;
};
struct __align__(16) uint4 {
    u32 x, y, z, w;
};
struct float2 {
    float x, y;
};
struct __align__(16) float4 {
    float x, y, z, w;
};
static inline uint2 make_uint2(u32 x, u32 y) { return {x, y}; }
static inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct Index {
    unsigned x, y, z;
};

namespace emulation {

// A stack of its own and where it stopped.
#if defined(__x86_64__)
// What a call must keep, by hand: swapcontext would make a system call for the signal mask each time.
extern "C" void emulation_switch(void** from, void* to);
asm(".text\n.globl emulation_switch\nemulation_switch:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
struct Context {
    void* top = nullptr;
};
static inline void switch_to(Context& from, Context& to) { emulation_switch(&from.top, to.top); }
static inline void prepare(Context& c, char* stack, size_t size, void (*entry)()) {
    // As emulation_switch leaves it: six registers, then where to return; a call finds the stack 8 off 16.
    uintptr_t top = ((uintptr_t)stack + size) & ~(uintptr_t)15;
    void** at = (void**)(top - 16);
    *at = (void*)entry;
    for (int i = 0; i < 6; i++) *--at = nullptr;
    c.top = at;
}
#else
struct Context {
    ucontext_t c;
};
static inline void switch_to(Context& from, Context& to) { swapcontext(&from.c, &to.c); }
static inline void prepare(Context& c, char* stack, size_t size, void (*entry)()) {
    getcontext(&c.c);
    c.c.uc_stack.ss_sp = stack;
    c.c.uc_stack.ss_size = size;
    c.c.uc_link = nullptr;
    makecontext(&c.c, entry, 0);
}
#endif

enum Status { READY, AT_WARP, AT_BLOCK, DONE };

struct Copy {
    void* to;
    uint4 data;
};

struct Fiber {
    Context context;
    std::vector<char> stack;
    Status status;
    unsigned parity;                       // which of two mailboxes the next exchange uses
    std::vector<std::vector<Copy>> copies;  // groups of cp.async, the last one open
};

struct Warp {
    unsigned live, arrived;
    alignas(16) unsigned char mail[2][32][64];
};

struct Machine {
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    std::vector<unsigned char> dynamic;
    Context scheduler;
    unsigned threads, current, live, arrived;
    Index thread, block, block_size, grid;
    void (*body)(const void*);
    const void* args;
};

// Not shared with other libraries, so that reaching it is not a call.
static Machine the_machine;
static inline Machine& machine() { return the_machine; }

static inline Fiber& self() { return machine().fibers[machine().current]; }
static inline unsigned lane() { return machine().current % 32; }

static inline void stop(Status status) {
    Fiber& fiber = self();
    fiber.status = status;
    switch_to(fiber.context, machine().scheduler);
}

static inline void release(Status waiting, unsigned first, unsigned count) {
    Machine& m = machine();
    for (unsigned i = first; i < std::min(first + count, m.threads); i++)
        if (m.fibers[i].status == waiting) m.fibers[i].status = READY;
}

static inline void check_warp(unsigned w) {
    Warp& warp = machine().warps[w];
    if (warp.arrived > 0 && warp.arrived >= warp.live) {
        warp.arrived = 0;
        release(AT_WARP, w * 32, 32);
    }
}

static inline void check_block() {
    Machine& m = machine();
    if (m.arrived > 0 && m.arrived >= m.live) {
        m.arrived = 0;
        release(AT_BLOCK, 0, m.threads);
    }
}

static inline void warp_barrier() {
    Machine& m = machine();
    unsigned w = m.current / 32;
    m.warps[w].arrived++;
    self().status = AT_WARP;
    check_warp(w);
    if (self().status == AT_WARP) stop(AT_WARP);
}

static inline void block_barrier() {
    machine().arrived++;
    self().status = AT_BLOCK;
    check_block();
    if (self().status == AT_BLOCK) stop(AT_BLOCK);
}

// Puts `value` where the warp can see it and gives the mailboxes of all lanes; good until the exchange after the next.
template <class T>
static inline unsigned char (*exchange(const T& value))[64] {
    static_assert(sizeof(T) <= 64, "a mailbox holds 64 bytes");
    Machine& m = machine();
    Warp& warp = m.warps[m.current / 32];
    unsigned parity = self().parity ^= 1;
    std::memcpy(warp.mail[parity][lane()], &value, sizeof(T));
    warp_barrier();
    return warp.mail[parity];
}

static inline void entry() {
    Machine& m = machine();
    m.body(m.args);
    unsigned w = m.current / 32;
    self().status = DONE;
    m.live--;
    m.warps[w].live--;
    check_warp(w);
    check_block();
    switch_to(self().context, m.scheduler);
}

static inline void run_fiber(unsigned i) {
    Machine& m = machine();
    m.current = i;
    m.thread = {i, 0, 0};
    switch_to(m.scheduler, m.fibers[i].context);
}

// Runs a block; false where threads wait for others that do not come.
static inline bool run_block() {
    Machine& m = machine();
    const size_t stack = 128 << 10;
    m.live = m.threads;
    m.arrived = 0;
    std::fill(m.dynamic.begin(), m.dynamic.end(), 0xff);
    for (unsigned w = 0; w < m.warps.size(); w++) {
        m.warps[w].live = std::min(32u, m.threads - w * 32);
        m.warps[w].arrived = 0;
    }
    for (unsigned i = 0; i < m.threads; i++) {
        Fiber& fiber = m.fibers[i];
        if (fiber.stack.empty()) fiber.stack.resize(stack);
        fiber.status = READY;
        fiber.parity = 0;
        fiber.copies.assign(1, {});
        prepare(fiber.context, fiber.stack.data(), fiber.stack.size(), entry);
    }
    while (m.live > 0) {
        bool moved = false;
        for (unsigned w = 0; w < m.warps.size(); w++) {
            bool again = true;
            while (again) {
                again = false;
                for (unsigned i = w * 32; i < std::min(w * 32 + 32, m.threads); i++) {
                    if (m.fibers[i].status != READY) continue;
                    run_fiber(i);
                    again = moved = true;
                }
            }
        }
        if (!moved) return false;
    }
    return true;
}

struct Kernel {
    int threads;
    size_t args;
    void (*body)(const void*);
};

static inline std::map<std::string, Kernel>& kernels() {
    static std::map<std::string, Kernel> all;
    return all;
}

struct Registered {
    Registered(const char* name, int threads, size_t args, void (*body)(const void*)) {
        kernels()[name] = {threads, args, body};
    }
};

// Runs a whole grid; false where a barrier was not reached by all.
static inline bool launch(const Kernel& kernel, Index grid, Index block, size_t shared, const void* args) {
    Machine& m = machine();
    m.threads = block.x;
    m.block_size = block;
    m.grid = grid;
    m.body = kernel.body;
    m.args = args;
    m.dynamic.resize(shared + 16);
    if (m.fibers.size() < m.threads) m.fibers.resize(m.threads);
    m.warps.resize((m.threads + 31) / 32);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                m.block = {x, y, z};
                if (!run_block()) return false;
            }
    return true;
}

}  // namespace emulation

#define KERNEL(name, threads, Args, body)                                                                              \
    static void run_##name(const void* args) { body(*(const Args*)args); }                                             \
    static emulation::Registered registered_##name(#name, threads, sizeof(Args), run_##name);

#define threadIdx (emulation::machine().thread)
#define blockIdx (emulation::machine().block)
#define blockDim (emulation::machine().block_size)
#define gridDim (emulation::machine().grid)

static inline u8* shared_memory() { return (u8*)(((uintptr_t)emulation::machine().dynamic.data() + 15) & ~(uintptr_t)15); }
static inline void __syncthreads() {
    emulation::block_barrier();
}
static inline void __syncwarp() { emulation::warp_barrier(); }
static inline void __threadfence() {}
template <class T>
static inline T __shfl_xor_sync(u32, T value, int mask) {
    auto mail = emulation::exchange(value);
    T other;
    std::memcpy(&other, mail[emulation::lane() ^ (unsigned)mask], sizeof(T));
    return other;
}
template <class T>
static inline T atomicAdd(T* p, T x) {
    T old = *p;
    *p += x;
    return old;
}
template <class T>
static inline T atomicMax(T* p, T x) {
    T old = *p;
    *p = std::max(old, x);
    return old;
}
template <class T>
static inline T atomicExch(T* p, T x) {
    T old = *p;
    *p = x;
    return old;
}
template <class T>
static inline T __ldcg(const T* p) {
    return *p;
}
using std::max;
using std::min;
static inline float __uint_as_float(u32 bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
static inline u32 __float_as_uint(float x) {
    u32 bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
#define INFINITY_F __builtin_inff()
static inline float exp2_fast(float x) { return exp2f(x); }

static inline float to_float(float x) { return x; }
static inline float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
static inline float to_float(f16 x) {
    const u32 sign = (u32)(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31, mantissa = x.bits & 0x3ff;
    if (exponent == 31) return __uint_as_float(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0) return (sign ? -1.0f : 1.0f) * std::ldexp((float)mantissa, -24);
    return __uint_as_float(sign | (exponent + 112) << 23 | mantissa << 13);
}
static inline void round_to(float& y, float x) { y = x; }
static inline void round_to(bf16& y, float x) {
    u32 bits = __float_as_uint(x);
    y.bits = x != x ? 0x7fff : (u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
// To nearest, ties to even, by the arithmetic of f32 itself: a number plus a power of two rounds at the bit that f16 ends with.
static inline void round_to(f16& y, float x) {
    const u16 sign = (u16)(__float_as_uint(x) >> 16 & 0x8000);
    const float size = std::fabs(x);
    if (x != x) {
        y.bits = 0x7fff;
    } else if (size >= 65520.0f) {
        y.bits = sign | 0x7c00;
    } else if (size < 6.103515625e-05f) {
        y.bits = sign | (u16)(__float_as_uint(size + 0.5f) - __float_as_uint(0.5f));
    } else {
        const u32 bits = __float_as_uint(size);
        y.bits = sign | (u16)((bits + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13);
    }
}
template <class T>
static inline u32 pack(T, float low, float high) {
    T l, h;
    round_to(l, low);
    round_to(h, high);
    return (u32)l.bits | (u32)h.bits << 16;
}

static inline uint4 load_streamed(const void* p) { return *(const uint4*)p; }
static inline void copy_async(void* to, const void* from, bool valid) {
    if ((uintptr_t)to % 16 || (uintptr_t)from % 16) {
        std::fprintf(stderr, "stand-in: cp.async of 16 bytes at an address that is no multiple of 16\n");
        std::abort();
    }
    emulation::self().copies.back().push_back({to, valid ? *(const uint4*)from : make_uint4(0, 0, 0, 0)});
}
static inline void copy_commit() { emulation::self().copies.emplace_back(); }
template <int N>
static inline void copy_wait() {
    auto& copies = emulation::self().copies;
    // The last group is open: N committed ones before it may stay.
    while (copies.size() > N + 1) {
        for (auto& copy : copies.front()) *(uint4*)copy.to = copy.data;
        copies.erase(copies.begin());
    }
}

static inline void matrices(u32 (&r)[4], const void* row, bool transposed) {
    auto mail = emulation::exchange(row);
    const unsigned lane = emulation::lane();
    for (unsigned i = 0; i < 4; i++) {
        u16 pair[2];
        for (unsigned e = 0; e < 2; e++) {
            const unsigned from = transposed ? 2 * (lane % 4) + e : lane / 4, at = transposed ? lane / 4 : 2 * (lane % 4) + e;
            const u16* address;
            std::memcpy(&address, mail[i * 8 + from], sizeof address);
            pair[e] = address[at];
        }
        r[i] = (u32)pair[0] | (u32)pair[1] << 16;
    }
}
static inline void load_matrices(u32 (&r)[4], const void* row) { matrices(r, row, false); }
static inline void load_matrices_transposed(u32 (&r)[4], const void* row) { matrices(r, row, true); }

// Fragments as the PTX ISA gives them for mma.m16n8k16 of 16-bit elements, whose products are exact in f32.
//
// Tensor cores cut sums off toward zero where f32 would round them (Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of
// NVIDIA tensor cores", 2021): so here, after every four products, as often as any chip does. That addends lose their last bits
// against the largest of the five, by some chips' shifters, is not emulated: it is no more than the cut itself.
template <class T>
static inline void multiply_add(T, float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Fragments {
        u32 a[4], b[2];
    } mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    auto mail = emulation::exchange(mine);
    const unsigned lane = emulation::lane();
    float x[2][16], w[2][16];
    for (unsigned k = 0; k < 16; k += 2) {
        const auto& row = *(const Fragments*)mail[lane / 4 * 4 + k % 8 / 2];
        for (unsigned i = 0; i < 2; i++) {
            unpack(T(), row.a[i + k / 8 * 2], x[i][k], x[i][k + 1]);
            const auto& column = *(const Fragments*)mail[(2 * (lane % 4) + i) * 4 + k % 8 / 2];
            unpack(T(), column.b[k / 8], w[i][k], w[i][k + 1]);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        const float *p = x[i / 2], *q = w[i % 2];
        double sum = d[i];
        for (unsigned k = 0; k < 16; k += 4) {
            sum += ((double)(p[k] * q[k]) + p[k + 1] * q[k + 1]) + ((double)(p[k + 2] * q[k + 2]) + p[k + 3] * q[k + 3]);
            // The 29 bits that f64 has more than f32.
            uint64_t bits;
            std::memcpy(&bits, &sum, sizeof bits);
            bits &= ~(uint64_t)0 << 29;
            std::memcpy(&sum, &bits, sizeof bits);
        }
        d[i] = (float)sum;
    }
}

template <class T>
static inline u32 fma_pair(T, u32 a, u32 b, u32 c) {
    auto half = [](u32 both, unsigned high) { return to_float(T{(u16)(high ? both >> 16 : both)}); };
    return pack(T(), half(a, 0) * half(b, 0) + half(c, 0), half(a, 1) * half(b, 1) + half(c, 1));
}
