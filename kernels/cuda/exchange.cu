// Parts of tensors, and sums of them, taken from the memory of several GPUs by each of them.
//
// Every GPU of a group launches this with the same grid and takes what it needs from where it lies,
// through addresses at which it reaches the others' memory. A GPU goes on once all have come, so
// that what they give is there; it ends once all have taken what they need, so that what they gave
// may be overwritten. In between there may be a second phase that takes what the first one made:
// a sum over all GPUs is made in shards, one by each, which the others then take.
//
// To meet, each block writes its number of meetings so far into a word of every GPU's memory, and
// waits until the others have written theirs here. Blocks meet those of the same number on the other
// GPUs alone, which is enough for the second phase as well: unit i of a shard belongs to the same
// block in both, since both have the same units.
//
// Block (256), any grid. Macros: TYPE (0 float, 1 bf16, 2 double, 3 integers of 64 bits, 4 bytes),
// WIDTH elements a unit, OP (0 sum, 1 max, 2 min), RANKS in the group.
//
// `table` is in this GPU's memory: how many pieces it takes in the first phase, in the second, the
// address of each GPU's words as this one sees it, then the pieces, each: address of the target,
// terms, units, dimensions missing of DIMS (the outermost ones), sizes of the dimensions but the
// outermost (the last one in units), for the target the bytes from one to the next along each dimension
// but the last, and for RANKS terms address and the same. Units of the last dimension follow each other.
//
// A small sum goes the other way (`small_sum`): each GPU writes its terms into a box of every other's
// memory, and adds up what it finds in its own, in the order of GPUs, so that all get the same. With
// each 4 bytes goes the number of the sum, by which the other sees that they have come: nobody meets
// before or after, and the message is on its way once. A box has room for two sums in turn: what is
// written again was read by a kernel that has ended, since the sum before this one had to wait for it.
//
// A link between GPUs answers after about 1.5 us, so what it carries a second is what is under way in
// that time: with 32 blocks each thread has to have 8 units under way for 400 GB/s.

#include "vector.cuh"

#ifndef TYPE
#define TYPE 0
#define WIDTH 4
#define OP 0
#define RANKS 2
#endif

#define THREADS 256
#define AHEAD 8
#define DIMS 5
#define TERM DIMS
#define CELL_BYTES 8
#define CELLS 4096
#define COUNTERS_BYTES 256
#define PIECE (4 + 2 * (DIMS - 1) + RANKS * TERM)

typedef unsigned long long Word;

#if TYPE == 0
#define ITEM_BYTES 4
typedef float Item;
typedef float Total;
#elif TYPE == 1
#define ITEM_BYTES 2
typedef bf16 Item;
typedef float Total;
#elif TYPE == 2
#define ITEM_BYTES 8
typedef double Item;
typedef double Total;
#elif TYPE == 3
#define ITEM_BYTES 8
typedef long long Item;
typedef long long Total;
#else
#define ITEM_BYTES 1
typedef unsigned char Item;
typedef long long Total;
#endif

// In registers as words: items of less would take one each.
struct __align__(ITEM_BYTES * WIDTH) Unit {
#if ITEM_BYTES * WIDTH < 4
    Item items[WIDTH];
#else
    unsigned words[ITEM_BYTES * WIDTH / 4];
#endif
};

union Items {
    Unit unit;
    Item items[WIDTH];
    __device__ Items() {}
};

__device__ inline double number(double x) { return x; }
__device__ inline long long number(long long x) { return x; }
__device__ inline long long number(unsigned char x) { return x; }
__device__ inline void set(double& to, double x) { to = x; }
__device__ inline void set(long long& to, long long x) { to = x; }
__device__ inline void set(unsigned char& to, long long x) { to = (unsigned char)x; }

// Of two numbers; a NaN wins.
__device__ inline Total combined(Total a, Total b) {
#if OP == 0
    return a + b;
#elif OP == 1
    return b > a || b != b ? b : a;
#else
    return b < a || b != b ? b : a;
#endif
}

__device__ inline void tell(unsigned* word, unsigned value) {
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(word), "r"(value) : "memory");
}

// Read while waiting: what else was written is seen after a fence. To acquire each time would empty the
// multiprocessor's cache, which other work uses meanwhile.
__device__ inline unsigned peek(const unsigned* word) {
    unsigned value;
    asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
    return value;
}

// Wait until this block's like on all GPUs has met as often as this one.
__device__ inline void meet(const Word* words, int me, unsigned count) {
    __syncthreads();
    if (threadIdx.x < RANKS) {
        const unsigned block = blockIdx.x * (RANKS + 1);
        tell(reinterpret_cast<unsigned*>(words[threadIdx.x]) + block + me, count);
        const unsigned* word = reinterpret_cast<const unsigned*>(words[me]) + block + threadIdx.x;
        // The difference is right where the count has begun anew, too.
        while ((int)(peek(word) - count) < 0) {
        }
        asm volatile("fence.acq_rel.sys;" ::: "memory");
    }
    __syncthreads();
}

// The bytes from a piece's first unit to another, for one of its tensors of DIMS - `missing` dimensions.
__device__ inline Word away(const Word* sizes, const Word* steps, int missing, unsigned unit) {
    unsigned left = unit;
    Word bytes = 0;
// Unrolled, sizes and steps of all tensors would take the registers that units need.
#pragma unroll 1
    for (int dim = DIMS - 1; dim > missing; --dim) {
        const unsigned size = (unsigned)sizes[dim - 1], outer = left / size;
        const unsigned index = left - outer * size;
        bytes += index * (dim == DIMS - 1 ? (Word)sizeof(Unit) : steps[dim]);
        left = outer;
    }
    return bytes + left * (missing == DIMS - 1 ? (Word)sizeof(Unit) : steps[missing]);
}

template <int TERMS>
__device__ inline Unit combined(const Unit* found) {
    Items terms[TERMS], result;
#pragma unroll
    for (int term = 0; term < TERMS; ++term) terms[term].unit = found[term];
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) {
        Total total = number(terms[0].items[i]);
#pragma unroll
        for (int term = 1; term < TERMS; ++term) total = combined(total, number(terms[term].items[i]));
        set(result.items[i], total);
    }
    return result.unit;
}

template <int TERMS, bool FLAT>
__device__ inline void take(const Word* piece) {
    // What is under way at a time takes registers.
    constexpr int MOST = FLAT ? AHEAD : AHEAD / 2, EACH = TERMS < MOST ? MOST / TERMS : 1;
    constexpr unsigned CHUNK = THREADS * AHEAD;
    const unsigned units = (unsigned)piece[2];
    const int missing = (int)piece[3];
    const Word *sizes = piece + 4, *target = sizes + DIMS - 1, *terms = target + DIMS - 1;
    // In 64 bits: one past the last unit need not fit 32.
    for (Word chunk = blockIdx.x * CHUNK; chunk < units; chunk += gridDim.x * CHUNK) {
#pragma unroll 1
        for (int part = 0; part < AHEAD / EACH; ++part) {
            const Word first = chunk + part * (EACH * THREADS) + threadIdx.x;
            if (first >= units) break;
            Unit found[EACH][TERMS];
#pragma unroll
            for (int term = 0; term < TERMS; ++term) {
                const Word* from = terms + term * TERM;
                const Word base = from[0] + (FLAT ? first * sizeof(Unit) : 0);
#pragma unroll
                for (int k = 0; k < EACH; ++k) {
                    const Word unit = first + k * THREADS;
                    const Word place = FLAT ? k * THREADS * sizeof(Unit)
                                            : away(sizes, from + 1, missing, (unsigned)unit);
                    if (unit < units) found[k][term] = *reinterpret_cast<const Unit*>(base + place);
                }
            }
            const Word base = piece[0] + (FLAT ? first * sizeof(Unit) : 0);
#pragma unroll
            for (int k = 0; k < EACH; ++k) {
                const Word unit = first + k * THREADS;
                const Word place =
                    FLAT ? k * THREADS * sizeof(Unit) : away(sizes, target, missing, (unsigned)unit);
                if (unit >= units) continue;
                if constexpr (TERMS > 1) found[k][0] = combined<TERMS>(found[k]);
                *reinterpret_cast<Unit*>(base + place) = found[k][0];
            }
        }
    }
}

template <int TERMS>
__device__ inline void take_either(const Word* piece) {
    // Units of the last dimension follow each other.
    if (piece[3] == DIMS - 1) {
        take<TERMS, true>(piece);
    } else {
        take<TERMS, false>(piece);
    }
}

__device__ inline void take_all(const Word* pieces, int count) {
    for (int i = 0; i < count; ++i) {
        const Word* piece = pieces + i * PIECE;
        if (piece[1] == 1) {
            take_either<1>(piece);
        } else {
            take_either<RANKS>(piece);
        }
    }
}

extern "C" __global__ __launch_bounds__(THREADS, 2) void exchange(const Word* __restrict__ table,
                                                               int me, int phases) {
    const Word *words = table + 2, *pieces = words + RANKS;
    const int first = (int)table[0], second = (int)table[1];
    unsigned* own = reinterpret_cast<unsigned*>(words[me]) + blockIdx.x * (RANKS + 1) + RANKS;
    unsigned count = *own;
    meet(words, me, ++count);
    take_all(pieces, first);
    if (phases == 2) {
        meet(words, me, ++count);
        take_all(pieces + first * PIECE, second);
    }
    meet(words, me, ++count);
    if (threadIdx.x == 0) *own = count;
}

// What a GPU takes of its own memory: nobody is to be met, so there may be as many blocks as fill it.
extern "C" __global__ __launch_bounds__(THREADS, 2) void copy(const Word* __restrict__ table) {
    take_all(table + 2 + RANKS, (int)table[0]);
}

// The first of a line of a box, which holds the bytes of a cell, each half with the number of its sum.
__device__ inline uint4* line(Word box, unsigned slot, int sender, unsigned cell) {
    const Word place = ((Word)slot * RANKS + sender) * CELLS + cell;
    return reinterpret_cast<uint4*>(box + COUNTERS_BYTES) + place;
}

__device__ inline void send(uint4* to, uint2 cell, unsigned count) {
    asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(cell.x),
                 "r"(count), "r"(cell.y), "r"(count)
                 : "memory");
}

__device__ inline uint2 received(const uint4* from, unsigned count) {
    uint4 found;
    do {
        asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(found.x), "=r"(found.y), "=r"(found.z), "=r"(found.w)
                     : "l"(from)
                     : "memory");
    } while (found.y != count || found.w != count);
    return make_uint2(found.x, found.z);
}

union Cell {
    uint2 words;
    Item items[CELL_BYTES / ITEM_BYTES];
    __device__ Cell() : words(make_uint2(0, 0)) {}
};

// `table`: how many parts, the address of each GPU's box as this one sees it, then the parts: address
// of the terms here, address of the sum, elements, cells before it. A box begins with a counter for
// each block: all have the same grid, so that all counters are the same.
extern "C" __global__ __launch_bounds__(THREADS) void small_sum(const Word* __restrict__ table, int me) {
    constexpr unsigned EACH = CELL_BYTES / ITEM_BYTES;
    const int parts = (int)table[0];
    const Word *boxes = table + 1, *first = boxes + RANKS;
    unsigned* counter = reinterpret_cast<unsigned*>(boxes[me]) + blockIdx.x;
    const unsigned count = *counter + 1, slot = count & 1;
    for (int p = 0; p < parts; ++p) {
        const Word* part = first + 4 * p;
        const Item* terms = reinterpret_cast<const Item*>(part[0]);
        const unsigned elements = (unsigned)part[2], before = (unsigned)part[3];
        for (unsigned at = blockIdx.x * THREADS + threadIdx.x; at * EACH < elements;
             at += gridDim.x * THREADS) {
            Cell cell;
#pragma unroll
            for (unsigned i = 0; i < EACH; ++i)
                if (at * EACH + i < elements) cell.items[i] = terms[at * EACH + i];
#pragma unroll
            for (int other = 0; other < RANKS; ++other)
                if (other != me) send(line(boxes[other], slot, me, before + at), cell.words, count);
        }
    }
    for (int p = 0; p < parts; ++p) {
        const Word* part = first + 4 * p;
        const Item* terms = reinterpret_cast<const Item*>(part[0]);
        Item* sum = reinterpret_cast<Item*>(part[1]);
        const unsigned elements = (unsigned)part[2], before = (unsigned)part[3];
        for (unsigned at = blockIdx.x * THREADS + threadIdx.x; at * EACH < elements;
             at += gridDim.x * THREADS) {
            Total totals[EACH];
#pragma unroll
            for (int other = 0; other < RANKS; ++other) {
                Cell cell;
                if (other != me) {
                    cell.words = received(line(boxes[me], slot, other, before + at), count);
                } else {
#pragma unroll
                    for (unsigned i = 0; i < EACH; ++i)
                        if (at * EACH + i < elements) cell.items[i] = terms[at * EACH + i];
                }
#pragma unroll
                for (unsigned i = 0; i < EACH; ++i) {
                    const Total term = number(cell.items[i]);
                    totals[i] = other ? combined(totals[i], term) : term;
                }
            }
#pragma unroll
            for (unsigned i = 0; i < EACH; ++i)
                if (at * EACH + i < elements) set(sum[at * EACH + i], totals[i]);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) *counter = count;
}
