//! Names of real exports and what they become.

use super::*;

/// Names of real exports; what they should become is written by hand.
#[rustfmt::skip]
const NAMES: &[(&str, &str)] = &[
    (
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::CUDAFunctor_add<float>, at::detail::Array<char *, (int)3>>(int, T2, T3)",
        "vectorized_elementwise<CUDAFunctor_add<float>>",
    ),
    (
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::AUnaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<float>>, at::detail::Array<char *, (int)2>>(int, T2, T3)",
        "vectorized_elementwise<AUnaryFunctor<MulFunctor<float>>>",
    ),
    (
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::BinaryFunctor<float, float, float, void at::native::<unnamed>::threshold_kernel_impl<float>(at::TensorIteratorBase &, T1, T1)::[lambda(float, float) (instance 1)]>, at::detail::Array<char *, (int)3>>(int, T2, T3)",
        "vectorized_elementwise<threshold_kernel_impl<float>>",
    ),
    (
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::<unnamed>::launch_clamp_scalar(at::TensorIteratorBase &, c10::Scalar, c10::Scalar, at::native::detail::ClampLimits)::[lambda() (instance 1)]::operator ()() const::[lambda() (instance 14)]::operator ()() const::[lambda(float) (instance 1)], at::detail::Array<char *, (int)2>>(int, T2, T3)",
        "vectorized_elementwise<launch_clamp_scalar(float)>",
    ),
    (
        "void at::native::elementwise_kernel<(int)128, (int)2, void at::native::gpu_kernel_impl<at::native::BUnaryFunctor<float, float, float, at::native::binary_internal::MulFunctor<float>>>(at::TensorIteratorBase &, const T1 &)::[lambda(int) (instance 1)]>(int, T3)",
        "elementwise<BUnaryFunctor<MulFunctor<float>>>",
    ),
    (
        "void <unnamed>::elementwise_kernel_with_index<int, at::native::arange_cuda_out(const c10::Scalar &, const c10::Scalar &, const c10::Scalar &, at::Tensor &)::[lambda() (instance 1)]::operator ()() const::[lambda() (instance 6)]::operator ()() const::[lambda(long) (instance 1)]>(T1, T2, function_traits<T2>::result_type *)",
        "elementwise_with_index<arange_cuda_out>",
    ),
    (
        "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, at::native::MeanOps<float, float>, unsigned int, float, (int)4>>(T3)",
        "reduce<MeanOps<float>>",
    ),
    (
        "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, at::native::func_wrapper_t<float, at::native::sum_functor<float, float, float>::operator ()(at::TensorIterator &)::[lambda(float, float) (instance 1)]>, unsigned int, float, (int)4>>(T3)",
        "reduce<sum_functor<float>>",
    ),
    (
        "void at::index_elementwise_kernel<128, 4, void at::gpu_index_kernel<void at::index_kernel_impl<at::OpaqueType<2>>(at::TensorIteratorBase &, c10::ArrayRef<long>, c10::ArrayRef<long>)::[lambda(char *, const char *, long) (instance 1)]>(at::TensorIteratorBase &, c10::ArrayRef<long>, c10::ArrayRef<long>, const T1 &, bool)::[lambda(int) (instance 1)]>(long, T3)",
        "index_elementwise<index_kernel_impl<OpaqueType<2>>>",
    ),
    (
        "void at::native::(anonymous namespace)::adaptive_average_pool<float>(float*, float*, int, int, int, int, long, long, long)",
        "adaptive_average_pool<float>",
    ),
    (
        "void <unnamed>::softmax_warp_forward<float, float, float, (int)10, (bool)1, (bool)0>(T2 *, const T1 *, int, int, int, const bool *, int, bool)",
        "softmax_warp_forward<float, 10, 1, 0>",
    ),
    (
        "void flash_fwd_kernel<Flash_fwd_kernel_traits<512, 32, 32, 4, 0, 0, cutlass::bfloat16_t, Flash_kernel_traits<512, 32, 32, 4, cutlass::bfloat16_t>>, 0, 1, 0, 0, 0, 1, 0, 0>(Flash_fwd_params)",
        "flash_fwd_kernel<512, 32, 32, 4, bf16, 0, 1, 0, 0, 0, 1, 0, 0>",
    ),
    (
        "void flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4, 0, 0, bfloat16_t, Flash_kernel_traits<128, 64, 128, 4, bfloat16_t>>, 4, 1, 1>(Flash_fwd_params)",
        "flash_fwd_splitkv_combine_kernel<128, 64, 128, 4, bf16, 4, 1, 1>",
    ),
    (
        "void fmha_fwd_loop_kernel<FMHA_kernel_traits<(int)128, (int)32, (int)16, (int)1, (int)4, (unsigned int)8, __half>, (bool)0, (bool)0, (bool)0>(FMHA_fprop_params)",
        "fmha_fwd_loop_kernel<128, 32, 16, 1, half, 0, 0, 0>",
    ),
    (
        "void BatchDecodeWithPagedKVCacheKernel<0, 2, 1, 8, 16, 4, 2, DefaultAttention<0, 0, 0, 0>, Params>(T9)",
        "BatchDecodeWithPagedKVCacheKernel<0, 2, 1, 8, 16, 4, 2>",
    ),
    (
        "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x256_32x3_tn_align8>(T1::Params)",
        "cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x256_32x3_tn_align8",
    ),
    (
        "std::enable_if<!T7, void>::type internal::kernel<int, int, __nv_bfloat16, __nv_bfloat16, __nv_bfloat16, float, 0, 1, 1, 0, 7, 0, cublasGemvParamsEx<int, cublasGemvTensorStridedBatched<const __nv_bfloat16>, cublasGemvTensorStridedBatched<const __nv_bfloat16>, cublasGemvTensorStridedBatched<__nv_bfloat16>, float>>(T13)",
        "internal::kernel<int, bf16, float, 0, 1, 1, 0, 7, 0>",
    ),
    (
        "ampere_sgemm_128x64_nn",
        "ampere_sgemm_128x64_nn",
    ),
    (
        "nvjet_sm121_tst_mma_128x192x64_2_64x48x64_tmaAB_bz_TNNN",
        "nvjet_sm121_tst_mma_128x192x64_2_64x48x64_tmaAB_bz_TNNN",
    ),
    (
        "triton_red_fused__to_copy_embedding_mul_rms_norm_0",
        "triton_red_fused__to_copy_embedding_mul_rms_norm_0",
    ),
    (
        "void vllm::act_and_mul_kernel<c10::BFloat16, __nv_bfloat162, &vllm::gelu_tanh_kernel<c10::BFloat16>, &vllm::packed_gelu_tanh_kernel<__nv_bfloat162>, 1, 1, 0, 1>(T1 *, const T1 *, int, float)",
        "act_and_mul_kernel<bf16, bf16x2, gelu_tanh_kernel<bf16>, …>",
    ),
    (
        "void warptiling<(int)128, (int)128, (int)16, (int)64, (int)64, (int)4, (int)8, (int)4, (int)128>(int, int, int, float *, float *, float *)",
        "warptiling<128, 128, 16, 64, 64, 4, 8, 4, 128>",
    ),
    (
        "unnamed>::gemm_naive_kernel(const float *, const float *, float *, int, int, int)",
        "gemm_naive_kernel",
    ),
    (
        "void cudnn::ops::nchwToNhwcKernel<float, float, float, (bool)0, (bool)1, (cudnnKernelDataType_t)2>(cudnn::ops::nchw2nhwc_params_t<T3>, const T1 *, T2 *)",
        "nchwToNhwcKernel<float, 0, 1, 2>",
    ),
    (
        "void mul_mat_q<8, 32, 0>(const char *, const int *, const int *, const int *, float *, float *, uint3, int, int, int, int, int, uint3, uint3, int, int, int, uint3, uint3, int, int, int, uint3)",
        "mul_mat_q<8, 32, 0>",
    ),
    (
        "void cub::DeviceScanInitKernel<cub::ScanTileState<int, 1>>(T1, int)",
        "DeviceScanInitKernel<ScanTileState<int, 1>>",
    ),
    (
        "void mistralrs_flashinfer::reshape_and_cache_flashinfer_kernel<__nv_bfloat16>(const T1 *, const T1 *, T1 *, T1 *, const long *, int, int, int, int, int)",
        "reshape_and_cache_flashinfer_kernel<bf16>",
    ),
];

/// cuDNN's implicit GEMM has names of 4000 characters, of which these are the first.
const XMMA: &str = "void xmma_cudnn::gemm::kernel<xmma_cudnn::implicit_gemm::dgrad_indexed::Kernel_traits<\
    xmma_cudnn::Ampere_hmma_tf32_traits<unsigned int, float>, xmma_cudnn::Cta_tile<xmma_cudnn::Ampere, (int)64, \
    (int)32, (int)64, (int)2, (int)2, (int)1, (int)1>, xmma_cudnn::implicit_gemm::dgrad_indexed::Gmem_tile_a_t<\
    xmma_cudnn::Ampere_hmma_tf32_traits<unsigned int, float>>>>(T1::Params)";

#[test]
fn names_become_what_tells_kernels_apart() {
    for (name, expected) in NAMES {
        assert_eq!(short_name(name), *expected, "{name}");
    }
    assert_eq!(short_name(XMMA), "xmma_gemm<dgrad_indexed, Ampere_hmma_tf32, 64x32x64>");
}

#[test]
fn what_is_no_cpp_name_stays() {
    let renamed = "kprof/v1/decode/layer 3/attention/gemm";
    for name in ["gemm", "v1 decode attention", renamed, "", "(", "<<<", "::", ">>>)", "{lambda()#1}"] {
        assert_eq!(short_name(name), name, "{name}");
    }
}

#[test]
fn hostile_names_end() {
    let deep = format!("void f{}", "<g".repeat(50_000));
    assert!(short_name(&deep).chars().count() < 1000);
    let _ = short_name(&"a<b,".repeat(20_000));
    let _ = short_name(&"(((((>>>::[".repeat(9_000));
}

#[test]
fn different_kernels_stay_different() {
    let add = |n: usize| {
        format!("void at::native::vectorized_elementwise_kernel<{n}, at::native::FillFunctor<float>>(int)")
    };
    let (two, four) = (add(2), add(4));
    let names = short_names([two.as_str(), four.as_str(), two.as_str()]);
    assert_eq!(names[two.as_str()], "vectorized_elementwise<FillFunctor<float>>");
    assert_eq!(names[four.as_str()], "vectorized_elementwise<FillFunctor<float>> (2)");
    for (name, _) in NAMES {
        assert!(!base_name(name).contains(['<', '(']), "{}", base_name(name));
    }
    assert_eq!(base_name(NAMES[0].0), "vectorized_elementwise_kernel");
}

#[test]
fn kernels_on_matrix_units_are_known_by_name() {
    for name in ["ampere_fp16_s16816gemm_fp16_128x64", "void cutlass::Kernel<x>", "flash_fwd_kernel"] {
        assert!(suggests_matrix_units(name), "{name}");
    }
    assert!(!suggests_matrix_units("ampere_sgemm_128x64_nn"));
    assert!(!suggests_matrix_units("sm80_xmma_gemm_f32f32_f32f32_f32_nn_n_tilesize32x32x8"));
}
