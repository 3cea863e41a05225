// Dropout and initial weights from counter-based random numbers, equal to the reference's.
//
// An element's number follows from its row-major index in the global tensor (Philox4x32-10: Salmon
// et al. 2011). The block in memory has four dims, row-major: any, d1, d2, d3; the element at
// (i0, i1, i2, i3) has the global index first + i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3. A layout
// N H W C is dims (N, H, W, C) with the steps of a tensor N C H W. Block (256), grid (packs / 256):
// a thread makes one pack of LANES elements along the last dim.

#include "vector.cuh"

struct Words {
    unsigned at[4];

    __device__ inline unsigned pick(unsigned i) const {
        const unsigned low = i & 1u ? at[1] : at[0], high = i & 1u ? at[3] : at[2];
        return i & 2u ? high : low;
    }
};

// The four random words of a counter: its index, the step, and the key of the layer.
__device__ inline Words philox(unsigned long long index, unsigned step, unsigned layer,
                               unsigned long long seed) {
    unsigned c0 = (unsigned)index, c1 = (unsigned)(index >> 32), c2 = step, c3 = layer;
    unsigned k0 = (unsigned)seed, k1 = (unsigned)(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p0 = (unsigned long long)c0 * 0xD2511F53u;
        const unsigned long long p1 = (unsigned long long)c2 * 0xCD9E8D57u;
        c0 = (unsigned)(p1 >> 32) ^ c1 ^ k0;
        c1 = (unsigned)p1;
        c2 = (unsigned)(p0 >> 32) ^ c3 ^ k1;
        c3 = (unsigned)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// The global index of the first element of a pack.
__device__ inline long long global_index(unsigned pack, int d1, int d2, int d3, long long first,
                                         long long s0, long long s1, long long s2,
                                         long long s3) {
    const unsigned wide = d3 / LANES;
    const unsigned i3 = pack % wide * LANES, rest = pack / wide;
    const unsigned i2 = rest % d2, i1 = rest / d2 % d1, i0 = rest / d2 / d1;
    return first + i0 * s0 + i1 * s1 + i2 * s2 + i3 * s3;
}

// x * scale where the element's word >= threshold, else x * 0. `out` may be x.
extern "C" __global__ void dropout(T* out, const T* x, const long long* seed,
                                   const long long* step, unsigned packs, int d1, int d2, int d3,
                                   long long first, long long s0, long long s1, long long s2,
                                   long long s3, unsigned layer, unsigned long long threshold,
                                   float scale) {
    const unsigned pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    const Pack<T, LANES> some = load<T, LANES>(x + (long long)pack * LANES);
    long long index = global_index(pack, d1, d2, d3, first, s0, s1, s2, s3);
    const unsigned now = (unsigned)*step;
    Words words = philox(index / 4, now, layer, *seed);
    float v[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        v[i] = some[i] * (words.pick(index % 4) >= threshold ? scale : 0.0f);
        const long long next = index + s3;
        if (i + 1 < LANES && next / 4 != index / 4) words = philox(next / 4, now, layer, *seed);
        index = next;
    }
    store<T, LANES>(out + (long long)pack * LANES, v);
}

// std * a normal number, by Box and Muller in double precision, rounded once. LANES is 1.
extern "C" __global__ void init_normal(T* out, const long long* seed, unsigned packs, int d1,
                                       int d2, int d3, long long first, long long s0,
                                       long long s1, long long s2, long long s3, unsigned layer,
                                       double deviation) {
    const unsigned pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    const long long index = global_index(pack, d1, d2, d3, first, s0, s1, s2, s3);
    const Words words = philox(index / 4, 0, layer, *seed);
    const double u = (words.pick(index & 2) + 0.5) / 4294967296.0;
    const double angle = 2.0 * ((words.pick(index & 2 | 1) + 0.5) / 4294967296.0);
    const double part = index & 1 ? sinpi(angle) : cospi(angle);
    set(out[pack], (float)(deviation * sqrt(-2.0 * log(u)) * part));
}

// One value everywhere. Grid (packs / 256).
extern "C" __global__ void init_constant(T* out, long long packs, float value) {
    const long long pack = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    float v[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) v[i] = value;
    if (pack < packs) store<T, LANES>(out + pack * LANES, v);
}
