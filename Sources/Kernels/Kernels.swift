// Compute kernels on raw buffers.
