// Softmax with cross-entropy in pieces, over matrices x (N, K) of one shard of the classes.
//
// The shard's columns are the classes from `first_class` on. m, s and p (N) are every row's
// maximum, sum of exp(x - m) and picked x of its label, over all classes; float. Kernels over rows:
// block (128), grid (N), a block takes a row. Element by element: block (256).

#include "vector.cuh"

#define THREADS 128
#define LOSS_THREADS 256

// Combine one value of every thread of the block; thread 0 has the result.
template <int COUNT, class V, class F>
__device__ inline V combine(V value, F f) {
    __shared__ V shared[COUNT];
    shared[threadIdx.x] = value;
    for (int half = COUNT / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) {
            shared[threadIdx.x] = f(shared[threadIdx.x], shared[threadIdx.x + half]);
        }
    }
    return shared[0];
}

// -infinity where there are no columns.
extern "C" __global__ void row_max(float* out, const T* x, int columns) {
    const T* row = x + (long long)blockIdx.x * columns;
    float best = -infinity();
    for (int k = threadIdx.x; k < columns; k += THREADS) best = larger(best, number(row[k]));
    best = combine<THREADS>(best, [](float a, float b) { return larger(a, b); });
    if (threadIdx.x == 0) out[blockIdx.x] = best;
}

// Of exp(x - m).
extern "C" __global__ void row_sum_exp(float* out, const T* x, const float* m, int columns) {
    const T* row = x + (long long)blockIdx.x * columns;
    const float top = m[blockIdx.x];
    float sum = 0.0f;
    for (int k = threadIdx.x; k < columns; k += THREADS) sum += expf(number(row[k]) - top);
    sum = combine<THREADS>(sum, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// The lowest class with x == m; `classes` if there is none.
extern "C" __global__ void row_argmax(long long* out, const T* x, const float* m, int columns,
                                      int first_class, int classes) {
    const T* row = x + (long long)blockIdx.x * columns;
    const float top = m[blockIdx.x];
    int lowest = classes;
    for (int k = threadIdx.x; k < columns; k += THREADS) {
        if (number(row[k]) == top && first_class + k < lowest) lowest = first_class + k;
    }
    lowest = combine<THREADS>(lowest, [](int a, int b) { return a < b ? a : b; });
    if (threadIdx.x == 0) out[blockIdx.x] = lowest;
}

// The label's column, 0 where another shard holds it. A thread takes a row.
extern "C" __global__ void row_pick(float* out, const T* x, const long long* labels, int rows,
                                    int columns, int first_class) {
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    const long long k = labels[row] - first_class;
    const bool held = k >= 0 && k < columns;
    out[row] = held ? number(x[(long long)row * columns + k]) : 0.0f;
}

// The element of a class, 0 where another shard holds it.
__device__ inline float held_of(const T* row, long long label, int columns, int first_class) {
    const long long k = label - first_class;
    return k >= 0 && k < columns ? number(row[k]) : 0.0f;
}

// What the targets have of a row: `own` of the label's column, `each` of every one. With `labels2`
// the label's is divided among two, by `share`.
extern "C" __global__ void row_pick_targets(float* out, const T* x, const long long* labels,
                                            const long long* labels2, const float* share,
                                            int columns, int first_class, float own, float each) {
    const T* row = x + (long long)blockIdx.x * columns;
    float sum = 0.0f;
    for (int k = threadIdx.x; k < columns; k += THREADS) sum += number(row[k]);
    sum = combine<THREADS>(sum, [](float a, float b) { return a + b; });
    if (threadIdx.x) return;
    float picked = held_of(row, labels[blockIdx.x], columns, first_class);
    if (labels2) {
        const float first = share[blockIdx.x];
        picked = first * picked +
                 (1.0f - first) * held_of(row, labels2[blockIdx.x], columns, first_class);
    }
    out[blockIdx.x] = each * sum + own * picked;
}

// (exp(x - m) / s - target) / batch, where a target is `own` for the label, and `each` besides. With
// `labels2` the label's is divided among two, by `share`. Grid (K / 256, N). `out` may be x.
extern "C" __global__ void softmax_dx(T* out, const T* x, const long long* labels,
                                      const long long* labels2, const float* share, const float* m,
                                      const float* s, int columns, int first_class, float own,
                                      float each, float batch) {
    const int row = blockIdx.x, k = blockIdx.y * blockDim.x + threadIdx.x;
    if (k >= columns) return;
    const long long at = (long long)row * columns + k;
    const float first = labels2 ? share[row] : 1.0f;
    float target = labels[row] - first_class == k ? own * first : 0.0f;
    if (labels2 && labels2[row] - first_class == k) target += own * (1.0f - first);
    target += each;
    set(out[at], (expf(number(x[at]) - m[row]) / s[row] - target) / batch);
}

// Sum m + log s - p over the rows whose number first + i is below *count, or over all without
// one, divide by `batch`, and add what `out` has if `more`. Block (256), grid (1).
extern "C" __global__ void cross_entropy(float* out, const float* m, const float* s,
                                         const float* p, const long long* count, int rows,
                                         long long first, float batch, int more) {
    const long long end = count ? *count - first : rows;
    float sum = 0.0f;
    for (int i = threadIdx.x; i < rows && i < end; i += LOSS_THREADS) {
        sum += m[i] + logf(s[i]) - p[i];
    }
    sum = combine<LOSS_THREADS>(sum, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) *out = sum / batch + (more ? *out : 0.0f);
}

// Count the rows below *count whose argmax is the label, and add what `out` has if `more`.
extern "C" __global__ void correct(float* out, const long long* argmax, const long long* labels,
                                   const long long* count, int rows, long long first, int more) {
    const long long end = *count - first;
    int sum = 0;
    for (int i = threadIdx.x; i < rows && i < end; i += LOSS_THREADS) {
        sum += argmax[i] == labels[i];
    }
    sum = combine<LOSS_THREADS>(sum, [](int a, int b) { return a + b; });
    if (threadIdx.x == 0) *out = (float)sum + (more ? *out : 0.0f);
}
