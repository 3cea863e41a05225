// How far a stream has come, and when: a word written by one thread.

extern "C" __global__ void mark(volatile int* word, int value) {
    *word = value;
    __threadfence_system();
}

extern "C" __global__ void stamp(unsigned long long* word) {
    unsigned long long nanoseconds;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(nanoseconds));
    *word = nanoseconds;
}
