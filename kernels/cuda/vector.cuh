// Elements of tensors in registers: several side by side, as floats.
//
// T is the element type of activations: float, or bf16 where the macro BF16 is 1. A pack is LANES
// elements at an address that is a multiple of the pack's bytes, or of 16 where it is larger.
// Packs are read and written 16 bytes at a time. LANES 1 is the path for every other shape.

#pragma once

#ifndef BF16
#define BF16 0
#endif
#ifndef LANES
#define LANES (BF16 ? 8 : 4)
#endif

struct bf16 {
    unsigned short bits;
};

#if BF16
typedef bf16 T;
#else
typedef float T;
#endif

__device__ inline float infinity() { return __uint_as_float(0x7f800000u); }

// The larger number; a NaN wins.
__device__ inline float larger(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    float result;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
    return result;
#else
    return b > a || b != b ? b : a;
#endif
}

// max(x, low); a NaN stays.
__device__ inline float at_least(float x, float low) { return x < low ? low : x; }

__device__ inline float number(float x) { return x; }
__device__ inline float number(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

// Two bf16 in one word, the first in its low half; rounded to nearest, ties to even.
__device__ inline unsigned rounded(float first, float second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(second), "f"(first));
    return word;
#else
    unsigned a = __float_as_uint(first), b = __float_as_uint(second);
    a = first != first ? 0x7fffu : (a + 0x7fffu + (a >> 16 & 1u)) >> 16;
    b = second != second ? 0x7fffu : (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
    return a | b << 16;
#endif
}

__device__ inline void set(float& to, float x) { to = x; }
__device__ inline void set(bf16& to, float x) { to.bits = (unsigned short)rounded(x, 0.0f); }

// The same for two bf16 in one word.
__device__ inline unsigned larger_pair(unsigned a, unsigned b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    unsigned result;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(result) : "r"(a), "r"(b));
    return result;
#else
    return rounded(larger(__uint_as_float(a << 16), __uint_as_float(b << 16)),
                   larger(__uint_as_float(a & 0xffff0000u), __uint_as_float(b & 0xffff0000u)));
#endif
}

// All ones in each half of a word where a's bf16 is greater than b's.
__device__ inline unsigned greater_pair(unsigned a, unsigned b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    unsigned mask;
    asm("set.gt.u32.bf16x2 %0, %1, %2;" : "=r"(mask) : "r"(a), "r"(b));
    return mask;
#else
    const bool low = __uint_as_float(a << 16) > __uint_as_float(b << 16);
    const bool high = __uint_as_float(a & 0xffff0000u) > __uint_as_float(b & 0xffff0000u);
    return (low ? 0xffffu : 0u) | (high ? 0xffff0000u : 0u);
#endif
}

// N elements of type E as they lie in memory. Element i is read with `pack[i]`.
template <class E, int N>
struct Pack {
    static constexpr int BYTES = sizeof(E) * N;
    unsigned words[BYTES < 4 ? 1 : BYTES / 4];

    __device__ inline float operator[](int i) const {
        if constexpr (sizeof(E) == 4) return __uint_as_float(words[i]);
        unsigned word = words[i / 2];
        return __uint_as_float(i % 2 ? word & 0xffff0000u : word << 16);
    }
};

template <class E, int N>
__device__ inline Pack<E, N> load(const E* from) {
    Pack<E, N> pack;
    constexpr int bytes = Pack<E, N>::BYTES;
    if constexpr (bytes >= 16) {
#pragma unroll
        for (int i = 0; i < bytes / 16; ++i) {
            uint4 four = reinterpret_cast<const uint4*>(from)[i];
            pack.words[4 * i] = four.x;
            pack.words[4 * i + 1] = four.y;
            pack.words[4 * i + 2] = four.z;
            pack.words[4 * i + 3] = four.w;
        }
    } else if constexpr (bytes == 8) {
        uint2 two = *reinterpret_cast<const uint2*>(from);
        pack.words[0] = two.x;
        pack.words[1] = two.y;
    } else if constexpr (bytes == 4) {
        pack.words[0] = *reinterpret_cast<const unsigned*>(from);
    } else {
        pack.words[0] = *reinterpret_cast<const unsigned short*>(from);
    }
    return pack;
}

template <class E, int N>
__device__ inline void put(E* to, const Pack<E, N>& pack) {
    constexpr int bytes = Pack<E, N>::BYTES;
    const unsigned* words = pack.words;
    if constexpr (bytes >= 16) {
#pragma unroll
        for (int i = 0; i < bytes / 16; ++i) {
            reinterpret_cast<uint4*>(to)[i] =
                make_uint4(words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]);
        }
    } else if constexpr (bytes == 8) {
        *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
    } else if constexpr (bytes == 4) {
        *reinterpret_cast<unsigned*>(to) = words[0];
    } else {
        *reinterpret_cast<unsigned short*>(to) = (unsigned short)words[0];
    }
}

// Numbers as memory holds them, rounded.
template <class E, int N>
__device__ inline Pack<E, N> packed(const float (&values)[N]) {
    Pack<E, N> pack;
    if constexpr (sizeof(E) == 4) {
#pragma unroll
        for (int i = 0; i < N; ++i) pack.words[i] = __float_as_uint(values[i]);
    } else if constexpr (N == 1) {
        pack.words[0] = rounded(values[0], 0.0f);
    } else {
#pragma unroll
        for (int i = 0; i < N; i += 2) pack.words[i / 2] = rounded(values[i], values[i + 1]);
    }
    return pack;
}

template <class E, int N>
__device__ inline void store(E* to, const float (&values)[N]) {
    put(to, packed<E, N>(values));
}

// The same number N times.
template <class E, int N>
__device__ inline Pack<E, N> filled(float value) {
    Pack<E, N> pack;
#pragma unroll
    for (unsigned& word : pack.words) {
        word = sizeof(E) == 4 ? __float_as_uint(value) : rounded(value, value);
    }
    return pack;
}

// The larger of every two elements; a NaN wins.
template <class E, int N>
__device__ inline Pack<E, N> larger(const Pack<E, N>& a, const Pack<E, N>& b) {
    Pack<E, N> result;
#pragma unroll
    for (int i = 0; i < (int)(sizeof(a.words) / 4); ++i) {
        if constexpr (sizeof(E) == 4) {
            result.words[i] = __float_as_uint(
                larger(__uint_as_float(a.words[i]), __uint_as_float(b.words[i])));
        } else {
            result.words[i] = larger_pair(a.words[i], b.words[i]);
        }
    }
    return result;
}
