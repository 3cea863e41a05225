// Hopper's own instructions (sm_90a): products of warpgroups, and barriers that copies arrive at.
#pragma once

#include "conv/ptx.cuh"

DEVICE void barrier_init(unsigned barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
                 ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes initialized barriers visible to asynchronous copies.
DEVICE void barrier_init_fence() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

DEVICE void barrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives once all copies that this thread has started so far have arrived.
DEVICE void barrier_arrive_after_copies(unsigned barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and has the barrier wait for so many bytes of `copy_tile`, too.
DEVICE void barrier_expect(unsigned barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 ::"r"(barrier), "r"(bytes) : "memory");
}

// Copies a tile of a matrix that a map describes (`tile_map` of tiles.py), from element (x, y) on, to
// shared memory; zeros for what lies outside. The barrier is told the bytes that arrive.
DEVICE void copy_tile(unsigned to, const void* map, int x, int y, unsigned barrier) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];"
                 ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}

// Waits for the end of the barrier's phase of this parity.
DEVICE void barrier_wait(unsigned barrier, int parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra.uni finished;\n"
                 "bra.uni again;\n"
                 "finished:\n"
                 "}" ::"r"(barrier), "r"(parity) : "memory");
}

// Lets the tensor cores see what was written to shared memory before.
DEVICE void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

DEVICE void product_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

DEVICE void product_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

template <int pending>
DEVICE void product_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

template <int registers>
DEVICE void registers_up() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

template <int registers>
DEVICE void registers_down() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}

// An operand in shared memory, lines of 128 bytes swizzled as conv/tile.cuh tells, from a line that
// is a multiple of 8 on. Groups of 8 lines follow each other. `spans` bytes lie between runs of 64
// rows where lines are elements of the sum.
DEVICE unsigned long long operand(unsigned address, unsigned spans) {
    return (unsigned long long)((address & 0x3ffff) >> 4) | (unsigned long long)(spans >> 4) << 16 |
           (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}

#define FOUR(c, i) "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3])
#define SIXTEEN(c, i) FOUR(c, i), FOUR(c, i + 4), FOUR(c, i + 8), FOUR(c, i + 12)
#define NAMES_32                                                                                  \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                      \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define NAMES_64                                                                                  \
    NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
             "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NAMES_128                                                                                 \
    NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
             "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "   \
             "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, "   \
             "%110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, "     \
             "%123, %124, %125, %126, %127"

// c (64 by N) += a (64 by 16) b (16 by N) in bf16, half as many elements of the sum in tf32, by the 4
// warps of a warpgroup. turn_a, turn_b: 1 where the operand's lines are elements of the sum, which
// only bf16 knows. Lane l of warp w holds, in c[4 j + 2 h + e], row 16 w + 8 h + l / 4 and column
// 8 j + 2 (l % 4) + e. Of a float32 the last 13 bits are ignored.
#if BF16
#define KIND "k16.f32.bf16.bf16"
#define TURNS(a, b) ", " a ", " b
#else
#define KIND "k8.f32.tf32.tf32"
#define TURNS(a, b)
#endif
template <int turn_a, int turn_b>
DEVICE void multiply(float (&c)[32], unsigned long long a, unsigned long long b) {
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64" KIND " {" NAMES_32
                 "}, %32, %33, add, 1, 1" TURNS("%34", "%35") ";\n}"
                 : SIXTEEN(c, 0), SIXTEEN(c, 16)
                 : "l"(a), "l"(b), "n"(turn_a), "n"(turn_b));
}

template <int turn_a, int turn_b>
DEVICE void multiply(float (&c)[64], unsigned long long a, unsigned long long b) {
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128" KIND " {" NAMES_64
                 "}, %64, %65, add, 1, 1" TURNS("%66", "%67") ";\n}"
                 : SIXTEEN(c, 0), SIXTEEN(c, 16), SIXTEEN(c, 32), SIXTEEN(c, 48)
                 : "l"(a), "l"(b), "n"(turn_a), "n"(turn_b));
}

template <int turn_a, int turn_b>
DEVICE void multiply(float (&c)[128], unsigned long long a, unsigned long long b) {
    asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n256" KIND " {" NAMES_128
                 "}, %128, %129, add, 1, 1" TURNS("%130", "%131") ";\n}"
                 : SIXTEEN(c, 0), SIXTEEN(c, 16), SIXTEEN(c, 32), SIXTEEN(c, 48), SIXTEEN(c, 64),
                   SIXTEEN(c, 80), SIXTEEN(c, 96), SIXTEEN(c, 112)
                 : "l"(a), "l"(b), "n"(turn_a), "n"(turn_b));
}
