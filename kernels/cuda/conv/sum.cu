// The second pass of a split product: out[i] = f(partial[0][j] + partial[1][j] + ...), added in
// this order. j is i, unless depth is not 0: then out is a gradient of filters, and `partial` has
// those of the folded filters. f adds the bias of element i's column, i % width, then applies relu, then zeroes where `positive`,
// shaped like out, is not positive. bias and positive may be null.
// The parts' sums lie `apart` elements apart.
//
// Launch: any grid of blocks of 256 threads. Macro BF16: the type of out and positive.

#include "conv/space_to_depth.cuh"

#if BF16
typedef unsigned short Element;
#else
typedef float Element;
#endif

extern "C" __global__ void __launch_bounds__(256)
conv_sum(Element* __restrict__ out, const float* __restrict__ partial,
         const float* __restrict__ bias, const Element* __restrict__ positive, long long elements,
         long long splits, long long apart, long long width, long long relu, Places places) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long i = thread; i < elements; i += threads) {
        const long long j = places.depth ? place_of(i, places) : i;
        float value = 0;
#pragma unroll 8
        for (int split = 0; split < (int)splits; ++split) value += partial[split * apart + j];
        if (bias) value += bias[i % width];
        if (relu && value < 0) value = 0;
#if BF16
        if (positive && !(__uint_as_float((unsigned)positive[i] << 16) > 0)) value = 0;
        unsigned packed;
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(0.0f), "f"(value));
        out[i] = (Element)packed;
#else
        if (positive && !(positive[i] > 0)) value = 0;
        out[i] = value;
#endif
    }
}
