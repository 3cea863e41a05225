// How far a stream has come: a word in the host's memory, written by one thread.

extern "C" __global__ void mark(volatile int* word, int value) {
    *word = value;
    __threadfence_system();
}
