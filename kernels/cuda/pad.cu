// Channels of dense N H W C tensors, padded with zeros or cut: out (P, out_channels) from
// x (P, channels), where P counts pixels (or filter taps). Items are moved as bits of ITEM.
// Launch: a thread an element of out, 256 threads a block.

extern "C" __global__ void fit_channels(
    ITEM* __restrict__ out, const ITEM* __restrict__ x, long long pixels, int out_channels,
    int channels) {
  long long index = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (index >= pixels * out_channels) return;
  long long pixel = index / out_channels;
  int channel = index - pixel * out_channels;
  out[index] = channel < channels ? x[pixel * channels + channel] : (ITEM)0;
}
