// Stochastic gradient descent with three kinds of momentum and decay, Adam, and RMSprop, element by element.
//
// sgd: v = momentum * v - lr * (g + decay * w), w = w + v.
// momentum: s = gain * g + decay * w, v = momentum * v + s, w = w - share * lr * v; nesterov: as that,
// but w = w - share * lr * (s + momentum * v).
// adam: s = gain * g + decay * w, m = beta1 * m + (1 - beta1) * s, v = beta2 * v + (1 - beta2) * s * s,
// w = w - share * lr * (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decoupled * w), where
// t = turns * step + turn + 1 is counted here from the step on the device.
// rmsprop: s as adam's, r = alpha * r + (1 - alpha) * s * s, v = momentum * v + s / (sqrt(r) + eps),
// w = w - share * lr * v.
//
// Velocities, moments and weights are float, gradients of type T. Results may be the operands of the
// same name. Block (256). sgd, momentum, nesterov and their velocities: grid (packs / 512), a thread takes
// PACKS packs, a block apart. All others: grid (packs / 256), a thread takes one pack.

// square_sum is made in two launches, in an order that follows from the size only.

#include "vector.cuh"

#define PACKS 2
#define THREADS 256

__device__ inline float slope_of(float g, float w, float gain, float decay) {
    return gain * g + decay * w;
}

// How a weight w and its velocity v move by a gradient g.
struct Sgd {
    float rate, momentum, decay;

    __device__ float speed(float v, float w, float g) const {
        return momentum * v - (decay * w + g) * rate;
    }
    __device__ float place(float w, float v, float g) const { return w + v; }
};

struct Momentum {
    float rate, gain, decay, momentum;

    __device__ float slope(float w, float g) const { return slope_of(g, w, gain, decay); }
    __device__ float speed(float v, float w, float g) const { return momentum * v + slope(w, g); }
    __device__ float place(float w, float v, float g) const { return w - rate * v; }
};

struct Nesterov : Momentum {
    __device__ float place(float w, float v, float g) const {
        return w - rate * (slope(w, g) + momentum * v);
    }
};

// Without `weight` only the velocity is written.
template <bool APPLY, class Rule>
__device__ inline void update(float* velocity, float* weight, const T* g, const float* v,
                              const float* w, long long packs, const Rule& rule) {
    const long long first = (long long)blockIdx.x * PACKS * blockDim.x + threadIdx.x;
    Pack<T, LANES> slope[PACKS];
    Pack<float, LANES> speed[PACKS], place[PACKS];
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        const long long at = first + k * (int)blockDim.x;
        if (at >= packs) continue;
        slope[k] = load<T, LANES>(g + at * LANES);
        speed[k] = load<float, LANES>(v + at * LANES);
        place[k] = load<float, LANES>(w + at * LANES);
    }
#pragma unroll
    for (int k = 0; k < PACKS; ++k) {
        const long long at = first + k * (int)blockDim.x;
        if (at >= packs) continue;
        float moved[LANES], result[LANES];
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            moved[i] = rule.speed(speed[k][i], place[k][i], slope[k][i]);
            result[i] = rule.place(place[k][i], moved[i], slope[k][i]);
        }
        store<float, LANES>(velocity + at * LANES, moved);
        if constexpr (APPLY) store<float, LANES>(weight + at * LANES, result);
    }
}

extern "C" __global__ void sgd_velocity(float* out, const T* g, const float* v, const float* w,
                                        const float* lr, long long packs, float momentum,
                                        float decay) {
    update<false>(out, (float*)0, g, v, w, packs, Sgd{*lr, momentum, decay});
}

extern "C" __global__ void sgd(float* velocity, float* weight, const T* g, const float* v,
                               const float* w, const float* lr, long long packs, float momentum,
                               float decay) {
    update<true>(velocity, weight, g, v, w, packs, Sgd{*lr, momentum, decay});
}

extern "C" __global__ void momentum_velocity(float* out, const T* g, const float* v, const float* w,
                                             long long packs, float gain, float decay, float kept) {
    update<false>(out, (float*)0, g, v, w, packs, Momentum{0, gain, decay, kept});
}

extern "C" __global__ void momentum(float* velocity, float* weight, const T* g, const float* v,
                                    const float* w, const float* lr, long long packs, float gain,
                                    float decay, float kept, float share) {
    update<true>(velocity, weight, g, v, w, packs, Momentum{share * *lr, gain, decay, kept});
}

extern "C" __global__ void nesterov(float* velocity, float* weight, const T* g, const float* v,
                                    const float* w, const float* lr, long long packs, float gain,
                                    float decay, float kept, float share) {
    update<true>(velocity, weight, g, v, w, packs, Nesterov{{share * *lr, gain, decay, kept}});
}

extern "C" __global__ void nesterov_apply(float* out, const T* g, const float* w, const float* v,
                                          const float* lr, long long packs, float gain, float decay,
                                          float kept, float share) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const Nesterov rule{{share * *lr, gain, decay, kept}};
    const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    const Pack<float, LANES> speed = load<float, LANES>(v + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) result[i] = rule.place(place[i], speed[i], slope[i]);
    store<float, LANES>(out + at * LANES, result);
}

extern "C" __global__ void velocity_apply(float* out, const float* w, const float* v,
                                          const float* lr, long long packs, float share) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const float rate = share * *lr;
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    const Pack<float, LANES> speed = load<float, LANES>(v + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) result[i] = place[i] - rate * speed[i];
    store<float, LANES>(out + at * LANES, result);
}

// Factors of a running mean: of what it was, and of what is new.
struct Mean {
    float beta, rest;
};

// What every weight's step has in common; `rate` and `spread` hold the moments' corrections.
struct Step {
    float rate, spread, eps, shrink;
};

// The sum of a running mean's factors, 1 - beta^t, from log(beta): exact to the last bits also where beta^t is near 1.
__device__ inline float sum_of_factors(float log_beta, long long t) {
    return -expm1f(log_beta * (float)t);
}

__device__ inline Step step_of(const float* lr, const long long* step, float log_beta1,
                               float log_beta2, float eps, float decoupled, float share,
                               long long turn, long long turns) {
    const long long t = turns * *step + turn + 1;
    const float rate = share * *lr;
    return {rate / sum_of_factors(log_beta1, t), rsqrtf(sum_of_factors(log_beta2, t)), eps,
            rate * decoupled};
}

__device__ inline float moved(float w, float m, float v, const Step& by) {
    return w - (by.rate * m / (by.spread * sqrtf(v) + by.eps) + by.shrink * w);
}

// One of the moments: of the slopes, or of their squares.
template <bool SQUARE>
__device__ inline void moment(float* out, const float* old, const T* g, const float* w,
                              long long packs, float gain, float decay, Mean factors) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
    const Pack<float, LANES> before = load<float, LANES>(old + at * LANES);
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const float s = slope_of(slope[i], place[i], gain, decay);
        result[i] = factors.beta * before[i] + factors.rest * (SQUARE ? s * s : s);
    }
    store<float, LANES>(out + at * LANES, result);
}

extern "C" __global__ void adam_moment1(float* out, const T* g, const float* m, const float* w,
                                        long long packs, float gain, float decay, float beta,
                                        float rest) {
    moment<false>(out, m, g, w, packs, gain, decay, {beta, rest});
}

extern "C" __global__ void adam_moment2(float* out, const T* g, const float* v, const float* w,
                                        long long packs, float gain, float decay, float beta,
                                        float rest) {
    moment<true>(out, v, g, w, packs, gain, decay, {beta, rest});
}

extern "C" __global__ void adam_apply(float* out, const float* w, const float* m, const float* v,
                                      const float* lr, const long long* step, long long packs,
                                      float log_beta1, float log_beta2, float eps, float decoupled,
                                      float share, long long turn, long long turns) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const Step by = step_of(lr, step, log_beta1, log_beta2, eps, decoupled, share, turn, turns);
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    const Pack<float, LANES> mean = load<float, LANES>(m + at * LANES);
    const Pack<float, LANES> square = load<float, LANES>(v + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) result[i] = moved(place[i], mean[i], square[i], by);
    store<float, LANES>(out + at * LANES, result);
}

// All three in one pass.
extern "C" __global__ void adam(float* moment1, float* moment2, float* weight, const T* g,
                                const float* m, const float* v, const float* w, const float* lr,
                                const long long* step, long long packs, float gain, float decay,
                                float beta1, float rest1, float beta2, float rest2, float log_beta1,
                                float log_beta2, float eps, float decoupled, float share,
                                long long turn, long long turns) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
    const Pack<float, LANES> old_mean = load<float, LANES>(m + at * LANES);
    const Pack<float, LANES> old_square = load<float, LANES>(v + at * LANES);
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    const Step by = step_of(lr, step, log_beta1, log_beta2, eps, decoupled, share, turn, turns);
    float mean[LANES], square[LANES], result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const float s = slope_of(slope[i], place[i], gain, decay);
        mean[i] = beta1 * old_mean[i] + rest1 * s;
        square[i] = beta2 * old_square[i] + rest2 * (s * s);
        result[i] = moved(place[i], mean[i], square[i], by);
    }
    store<float, LANES>(moment1 + at * LANES, mean);
    store<float, LANES>(moment2 + at * LANES, square);
    store<float, LANES>(weight + at * LANES, result);
}

// Of a slope, after the running mean of squares had it.
__device__ inline float speed_of(float v, float r, float slope, float momentum, float eps) {
    return momentum * v + slope / (sqrtf(r) + eps);
}

extern "C" __global__ void rmsprop_velocity(float* out, const T* g, const float* v, const float* r,
                                            const float* w, long long packs, float gain,
                                            float decay, float momentum, float eps) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
    const Pack<float, LANES> before = load<float, LANES>(v + at * LANES);
    const Pack<float, LANES> square = load<float, LANES>(r + at * LANES);
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const float s = slope_of(slope[i], place[i], gain, decay);
        result[i] = speed_of(before[i], square[i], s, momentum, eps);
    }
    store<float, LANES>(out + at * LANES, result);
}

// All three in one pass.
extern "C" __global__ void rmsprop(float* square, float* velocity, float* weight, const T* g,
                                   const float* r, const float* v, const float* w, const float* lr,
                                   long long packs, float gain, float decay, float alpha,
                                   float rest, float momentum, float eps, float share) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const float rate = share * *lr;
    const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
    const Pack<float, LANES> old_square = load<float, LANES>(r + at * LANES);
    const Pack<float, LANES> old_speed = load<float, LANES>(v + at * LANES);
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    float mean[LANES], speed[LANES], result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const float s = slope_of(slope[i], place[i], gain, decay);
        mean[i] = alpha * old_square[i] + rest * (s * s);
        speed[i] = speed_of(old_speed[i], mean[i], s, momentum, eps);
        result[i] = place[i] - rate * speed[i];
    }
    store<float, LANES>(square + at * LANES, mean);
    store<float, LANES>(velocity + at * LANES, speed);
    store<float, LANES>(weight + at * LANES, result);
}

// The sum of one value of every thread of the block; thread 0 has it.
__device__ inline float block_sum(float value) {
    __shared__ float shared[THREADS];
    shared[threadIdx.x] = value;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    return shared[0];
}

// The squares of every block's elements, into `partial`. A block takes each `gridDim.x`-th 256 packs.
extern "C" __global__ void square_sums(float* partial, const T* g, long long packs) {
    float sum[LANES] = {};
    for (long long at = (long long)blockIdx.x * THREADS + threadIdx.x; at < packs;
         at += (long long)gridDim.x * THREADS) {
        const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
#pragma unroll
        for (int i = 0; i < LANES; ++i) sum[i] += slope[i] * slope[i];
    }
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < LANES; ++i) all += sum[i];
    all = block_sum(all);
    if (threadIdx.x == 0) partial[blockIdx.x] = all;
}

// What the blocks summed. Grid (1).
extern "C" __global__ void sum_blocks(float* out, const float* partial, int blocks) {
    float sum = 0.0f;
    for (int block = threadIdx.x; block < blocks; block += THREADS) sum += partial[block];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *out = sum;
}

// g * min(1, limit / (sqrt(squares) + 1e-6)); a factor that is no number stays none. `out` may be g.
extern "C" __global__ void clipped(T* out, const T* g, const float* squares, long long packs,
                                   float limit) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const float ratio = limit / (sqrtf(*squares) + 1e-6f);
    const float factor = ratio >= 1.0f ? 1.0f : ratio;
    const Pack<T, LANES> slope = load<T, LANES>(g + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) result[i] = factor * slope[i];
    store<T, LANES>(out + at * LANES, result);
}

// decay * e + rest * w, or w in step 0. `out` may be e.
extern "C" __global__ void average(float* out, const float* e, const float* w,
                                   const long long* step, long long packs, float decay,
                                   float rest) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const bool first = *step == 0;
    const Pack<float, LANES> place = load<float, LANES>(w + at * LANES);
    const Pack<float, LANES> old = load<float, LANES>(e + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        result[i] = first ? place[i] : decay * old[i] + rest * place[i];
    }
    store<float, LANES>(out + at * LANES, result);
}

// acc + x, of a wider type than x. `out` may be acc.
extern "C" __global__ void accumulate(float* out, const T* x, const float* acc, long long packs) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packs) return;
    const Pack<T, LANES> more = load<T, LANES>(x + at * LANES);
    const Pack<float, LANES> sum = load<float, LANES>(acc + at * LANES);
    float result[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) result[i] = sum[i] + more[i];
    store<float, LANES>(out + at * LANES, result);
}
