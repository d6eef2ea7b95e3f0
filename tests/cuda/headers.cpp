// Holds what src/backend/cuda knows of cuBLASLt's and CUPTI's headers against the headers themselves: scripts/cuda-headers.sh
// compiles and runs it, with CUBLASLT, or with CUPTI, its newest record of a kernel (KERNEL) and, from CUDA 12.6 on, RANGES.
#include <cstddef>
#include <cstdio>
#include <cuda.h>

static int checked, wrong;
#define IS(what, wanted)                                                               \
    do {                                                                               \
        checked++;                                                                     \
        if ((long)(what) != (wanted)) wrong++, printf("%s is %ld and not %d\n", #what, (long)(what), wanted); \
    } while (0)
// CUPTI takes parameters of an older size: newer ones may have more at their end.
#define AT_LEAST(what, wanted)                                                         \
    do {                                                                               \
        checked++;                                                                     \
        if ((long)(what) < (wanted)) wrong++, printf("%s is %ld, less than %d\n", #what, (long)(what), wanted); \
    } while (0)

#ifdef CUBLASLT
#include <cublasLt.h>
static void check() {
    IS(sizeof(cublasLtMatmulHeuristicResult_t), 96);
    IS(sizeof(cublasLtMatmulAlgo_t), 64);
    IS(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize), 64);
    IS(offsetof(cublasLtMatmulHeuristicResult_t, state), 72);
    IS(offsetof(cublasLtMatmulHeuristicResult_t, wavesCount), 76);
    IS(CUDA_R_32F, 0);
    IS(CUDA_R_16F, 2);
    IS(CUDA_R_16BF, 14);
    IS(CUBLAS_COMPUTE_32F, 68);
    IS(CUBLAS_OP_T, 1);
    IS(CUBLASLT_MATMUL_DESC_TRANSA, 3);
    IS(CUBLASLT_MATMUL_DESC_EPILOGUE, 7);
    IS(CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8);
    IS(CUBLASLT_EPILOGUE_DEFAULT, 1);
    IS(CUBLASLT_EPILOGUE_RELU, 2);
    IS(CUBLASLT_EPILOGUE_BIAS, 4);
    IS(CUBLASLT_EPILOGUE_GELU, 32);
    IS(CUBLASLT_EPILOGUE_RELU_BIAS, 2 | 4);
    IS(CUBLASLT_EPILOGUE_GELU_BIAS, 32 | 4);
    IS(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1);
    IS(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, 3);
    IS(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE, 2);
}
#endif

#ifdef CUPTI
#include <cupti_activity.h>
#include <cupti_profiler_target.h>
#include <cupti_result.h>
#include <cupti_target.h>
#include <cupti_version.h>
#ifdef RANGES
#include <cupti_profiler_host.h>
#include <cupti_range_profiler.h>
static void check_ranges() {
    IS(CUPTI_UserRange, 2);
    IS(CUPTI_UserReplay, 3);
    IS(CUPTI_PROFILER_TYPE_RANGE_PROFILER, 0);
    IS(CUPTI_METRIC_TYPE_COUNTER, 0);
    IS(CUPTI_METRIC_TYPE_RATIO, 1);
    IS(CUPTI_METRIC_TYPE_THROUGHPUT, 2);
    IS(CUPTI_PROFILER_CONFIGURATION_UNSUPPORTED, 1);
    IS(CUPTI_PROFILER_CONFIGURATION_DISABLED, 2);
    IS(CUPTI_PROFILER_CONFIGURATION_SUPPORTED, 3);
    AT_LEAST(CUpti_Profiler_Initialize_Params_STRUCT_SIZE, 16);
    AT_LEAST(CUpti_Profiler_DeviceSupported_Params_STRUCT_SIZE, 52);
    AT_LEAST(CUpti_Profiler_GetCounterAvailability_Params_STRUCT_SIZE, 40);
    AT_LEAST(CUpti_Device_GetChipName_Params_STRUCT_SIZE, 32);
    AT_LEAST(CUpti_Profiler_Host_Initialize_Params_STRUCT_SIZE, 48);
    AT_LEAST(CUpti_Profiler_Host_Deinitialize_Params_STRUCT_SIZE, 24);
    AT_LEAST(CUpti_Profiler_Host_GetBaseMetrics_Params_STRUCT_SIZE, 48);
    AT_LEAST(CUpti_Profiler_Host_ConfigAddMetrics_Params_STRUCT_SIZE, 40);
    AT_LEAST(CUpti_Profiler_Host_GetConfigImageSize_Params_STRUCT_SIZE, 32);
    AT_LEAST(CUpti_Profiler_Host_GetConfigImage_Params_STRUCT_SIZE, 40);
    AT_LEAST(CUpti_Profiler_Host_GetNumOfPasses_Params_STRUCT_SIZE, 40);
    AT_LEAST(CUpti_Profiler_Host_EvaluateToGpuValues_Params_STRUCT_SIZE, 72);
    AT_LEAST(CUpti_RangeProfiler_Enable_Params_STRUCT_SIZE, 32);
    AT_LEAST(CUpti_RangeProfiler_Disable_Params_STRUCT_SIZE, 24);
    AT_LEAST(CUpti_RangeProfiler_Start_Params_STRUCT_SIZE, 24);
    AT_LEAST(CUpti_RangeProfiler_PopRange_Params_STRUCT_SIZE, 24);
    AT_LEAST(CUpti_RangeProfiler_GetCounterDataSize_Params_STRUCT_SIZE, 64);
    AT_LEAST(CUpti_RangeProfiler_CounterDataImage_Initialize_Params_STRUCT_SIZE, 40);
    AT_LEAST(CUpti_RangeProfiler_SetConfig_Params_STRUCT_SIZE, 90);
    AT_LEAST(CUpti_RangeProfiler_Stop_Params_STRUCT_SIZE, 41);
    AT_LEAST(CUpti_RangeProfiler_PushRange_Params_STRUCT_SIZE, 32);
    AT_LEAST(CUpti_RangeProfiler_DecodeData_Params_STRUCT_SIZE, 32);
    AT_LEAST(CUpti_RangeProfiler_GetCounterDataInfo_Params_STRUCT_SIZE, 40);
    AT_LEAST(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params_STRUCT_SIZE, 56);
    IS(offsetof(CUpti_Profiler_DeviceSupported_Params, wsl), 44);
    IS(offsetof(CUpti_Profiler_GetCounterAvailability_Params, pCounterAvailabilityImage), 32);
    IS(offsetof(CUpti_Profiler_Host_Initialize_Params, pHostObject), 40);
    IS(offsetof(CUpti_Profiler_Host_EvaluateToGpuValues_Params, pMetricValues), 64);
    IS(offsetof(CUpti_RangeProfiler_Enable_Params, pRangeProfilerObject), 24);
    IS(offsetof(CUpti_RangeProfiler_GetCounterDataSize_Params, maxNumRangeTreeNodes), 48);
    IS(offsetof(CUpti_RangeProfiler_GetCounterDataSize_Params, counterDataSize), 56);
    IS(offsetof(CUpti_RangeProfiler_SetConfig_Params, range), 56);
    IS(offsetof(CUpti_RangeProfiler_SetConfig_Params, maxRangesPerPass), 64);
    IS(offsetof(CUpti_RangeProfiler_SetConfig_Params, minNestingLevel), 74);
    IS(offsetof(CUpti_RangeProfiler_SetConfig_Params, targetNestingLevel), 88);
    IS(offsetof(CUpti_RangeProfiler_Stop_Params, isAllPassSubmitted), 40);
    IS(offsetof(CUpti_RangeProfiler_CounterData_GetRangeInfo_Params, rangeName), 48);
}
#else
static void check_ranges() {}
#endif
static void check() {
    IS(offsetof(KERNEL, registersPerThread), 6);
    IS(offsetof(KERNEL, start), 16);
    IS(offsetof(KERNEL, end), 24);
    IS(offsetof(KERNEL, deviceId), 40);
    IS(offsetof(KERNEL, contextId), 44);
    IS(offsetof(KERNEL, streamId), 48);
    IS(offsetof(KERNEL, gridX), 52);
    IS(offsetof(KERNEL, blockX), 64);
    IS(offsetof(KERNEL, staticSharedMemory), 76);
    IS(offsetof(KERNEL, dynamicSharedMemory), 80);
    IS(offsetof(KERNEL, correlationId), 92);
    IS(offsetof(KERNEL, name), 104);
    IS(offsetof(KERNEL, graphNodeId), 144);
    IS(offsetof(CUpti_ActivityExternalCorrelation, externalKind), 4);
    IS(offsetof(CUpti_ActivityExternalCorrelation, externalId), 8);
    IS(offsetof(CUpti_ActivityExternalCorrelation, correlationId), 16);
    IS(CUPTI_ACTIVITY_KIND_KERNEL, 3);
    IS(CUPTI_ACTIVITY_KIND_DRIVER, 4);
    IS(CUPTI_ACTIVITY_KIND_RUNTIME, 5);
    IS(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, 10);
    IS(CUPTI_ACTIVITY_KIND_EXTERNAL_CORRELATION, 39);
    IS(CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0, 3);
    IS(CUPTI_ACTIVITY_FLAG_FLUSH_FORCED, 1);
    IS(CUPTI_ERROR_MAX_LIMIT_REACHED, 12);
    IS(CUPTI_ERROR_HARDWARE_BUSY, 26);
    IS(CUPTI_ERROR_NOT_SUPPORTED, 27);
    IS(CUPTI_ERROR_VIRTUALIZED_DEVICE_NOT_SUPPORTED, 33);
    IS(CUPTI_ERROR_INSUFFICIENT_PRIVILEGES, 35);
    IS(CUPTI_ERROR_OLD_PROFILER_API_INITIALIZED, 36);
    IS(CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED, 39);
    IS(CUPTI_ERROR_VIRTUALIZED_DEVICE_INSUFFICIENT_PRIVILEGES, 40);
    IS(CUPTI_ERROR_CONFIDENTIAL_COMPUTING_NOT_SUPPORTED, 41);
    check_ranges();
    printf("API version %d, ", CUPTI_API_VERSION);
}
#endif

int main() {
    check();
    printf("%d checked, %d wrong\n", checked, wrong);
    return wrong != 0;
}
