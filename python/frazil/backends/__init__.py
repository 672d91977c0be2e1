"""Where codes are made and searched other than by the C++ kernels: on GPUs. `Codec` imports it when it must."""
