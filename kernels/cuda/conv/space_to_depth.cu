// Images and filters whose pixels' blocks become channels, and back. Layouts: N H W C, filters
// K R S C; elements are moved as they are. Macro BF16: the type of elements.

#include "conv/space_to_depth.cuh"

#if BF16
typedef unsigned short Element;
#else
typedef float Element;
#endif
constexpr int LANES = 16 / sizeof(Element);

// Fold x into out, whose elements that x lacks are zeros. top and left are rows and columns of zeros
// before x. A line of x runs through the pixels of a block's line, so a thread's elements follow
// each other there until the block's next line.
// Launch: a thread for every 16 bytes of out, 256 threads a block.
extern "C" __global__ void __launch_bounds__(256)
space_to_depth(Element* __restrict__ out, const Element* __restrict__ x, long long packs, Places p,
               int top, int left) {
    const long long pack = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    const int chunks = p.depth / LANES, run = p.across * p.channels, width = p.columns * p.channels;
    const long long pixel = pack / chunks, line = pixel / p.deep_columns;
    const long long image = line / p.deep_rows;
    const int channel = (int)(pack - pixel * chunks) * LANES;
    int row = (int)(line - image * p.deep_rows) * p.down - top + channel / run;
    const int last = (int)(line - image * p.deep_rows) * p.down - top + p.down;
    const int begin = ((int)(pixel - line * p.deep_columns) * p.across - left) * p.channels;
    int inside = channel % run;
    union {
        Element elements[LANES];
        uint4 bits;
    } v;
#pragma unroll
    for (int e = 0; e < LANES; ++e) {
        const int at = begin + inside;
        const bool there = row >= 0 && row < p.rows && row < last && at >= 0 && at < width;
        v.elements[e] = there ? x[(image * p.rows + row) * width + at] : Element(0);
        if (++inside == run) {
            inside = 0;
            ++row;
        }
    }
    ((uint4*)out)[pack] = v.bits;
}

// Take the elements of out from the folded x.
// Launch: a thread an element of out, 256 threads a block.
extern "C" __global__ void __launch_bounds__(256)
depth_to_space(Element* __restrict__ out, const Element* __restrict__ x, long long elements,
               Places p) {
    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < elements) out[i] = x[place_of(i, p)];
}
