//! CSV tables of `nsys stats` and rocprofv3, in the shapes that those programs write.

use super::read_text;
use kprof::profile::{CopyKind, Run};

const STATS: &str = "\
NOTICE: Existing SQLite export found: report.sqlite
Processing [report.sqlite] with [cuda_gpu_kern_sum.py]...

 ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):

Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
88.5,10650240,24,443760.0,443520,441120,449280,2048.5,\"gemm_fp64_kernel(double *, double *, int)\"
11.5,\"1,357,824\",24,56576.0,56512,56320,57344,301.2,\"scale_kernel(double *, int)\"

 ** CUDA GPU MemOps Summary (by Time) (cuda_gpu_mem_time_sum):

Time (%),Total Time (ns),Count,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Operation
71.4,2411520,48,50240.0,50176,49920,51200,320.1,[CUDA memcpy Host-to-Device]
28.6,965632,24,40234.6,40192,39936,41216,290.7,[CUDA memset]

 ** CUDA GPU MemOps Summary (by Size) (cuda_gpu_mem_size_sum):

Total (MB),Count,Avg (MB),Med (MB),Min (MB),Max (MB),StdDev (MB),Operation
50.332,48,1.049,1.049,1.049,1.049,0.000,[CUDA memcpy Host-to-Device]
0.000,24,0.000,0.000,0.000,0.000,0.000,[CUDA memset]
";

const TRACE: &str = "\
Start (ns),Duration (ns),CorrId,GrdX,GrdY,GrdZ,BlkX,BlkY,BlkZ,Reg/Trd,StcSMem (MB),DymSMem (MB),Bytes (MB),Throughput (MB/s),SrcMemKd,DstMemKd,Device,Ctx,GreenCtx,Strm,Name
9961685,2707098,67,1,1,2304,128,1,1,160,0.000,0.025,,,,,NVIDIA A100-SXM4-80GB (1),1,,7,kernel_b<int>(int)
9695093,265888,65,1,1,2304,128,1,1,137,0.000,0.007,,,,,NVIDIA A100-SXM4-80GB (1),1,,7,kernel_a
9000000,1000,61,,,,,,,,,,4.096,4096.0,Pageable,Device,NVIDIA A100-SXM4-80GB (1),1,,7,[CUDA memcpy Host-to-Device]
";

const ROCPROF: &str = "\
\"Kind\",\"Agent_Id\",\"Queue_Id\",\"Stream_Id\",\"Thread_Id\",\"Dispatch_Id\",\"Kernel_Id\",\"Kernel_Name\",\"Correlation_Id\",\"Start_Timestamp\",\"End_Timestamp\",\"LDS_Block_Size\",\"Scratch_Size\",\"VGPR_Count\",\"Accum_VGPR_Count\",\"SGPR_Count\",\"Workgroup_Size_X\",\"Workgroup_Size_Y\",\"Workgroup_Size_Z\",\"Grid_Size_X\",\"Grid_Size_Y\",\"Grid_Size_Z\"
\"KERNEL_DISPATCH\",\"Agent 2\",1,0,70,1,33,\"__amd_rocclr_fillBufferAligned\",119662,172352210005122,172352210008687,0,0,12,4,48,256,1,1,512,1,1
\"KERNEL_DISPATCH\",\"Agent 2\",1,0,70,2,16,\"Cijk_Ailk_Bljk_SB\",119663,172352210010000,172352210110001,0,0,12,4,48,256,2,1,512,64,1
";

fn read(text: &str) -> Run {
    read_text("x.csv", text).unwrap()
}

#[test]
fn sums_of_nsys_stats_give_kernels_and_copies_with_their_bytes() {
    let run = read(STATS);
    let kernels: Vec<_> =
        run.kernels.iter().map(|k| (k.kernel.as_str(), k.launches, k.time.as_ref().unwrap().value)).collect();
    assert_eq!(
        kernels,
        [
            ("gemm_fp64_kernel(double *, double *, int)", 24, 10_650_240e-9),
            ("scale_kernel(double *, int)", 24, 1_357_824e-9)
        ]
    );
    assert_eq!(run.kernels[0].time.as_ref().unwrap().source, "column Total Time (ns)");
    let copies: Vec<_> = run.copies.iter().map(|c| (c.kind, c.count, c.bytes)).collect();
    // 0.000 MB is no number of bytes.
    assert_eq!(copies, [(CopyKind::HostToDevice, 48, Some(50.332e6)), (CopyKind::Set, 24, None)]);
    assert_eq!(run.traces[0].span_s, None);
}

#[test]
fn a_trace_of_nsys_stats_gives_every_launch_in_order() {
    let run = read(TRACE);
    let names: Vec<_> = run.kernels.iter().map(|k| k.kernel.as_str()).collect();
    assert_eq!(names, ["kernel_a", "kernel_b<int>(int)"]);
    let first = &run.kernels[0];
    assert_eq!(
        (first.device.as_deref(), first.grid.as_deref()),
        (Some("NVIDIA A100-SXM4-80GB"), Some("(1, 1, 2304)"))
    );
    // 0.007 MB may be 6500 B or 7499 B.
    assert_eq!((first.registers, first.dynamic_shared_bytes, first.shared_total()), (Some(137), None, None));
    let in_bytes = read(&TRACE.replace("SMem (MB)", "SMem (B)").replace("0.000,0.007", "1024,6656"));
    let exact = &in_bytes.kernels[0];
    assert_eq!((exact.static_shared_bytes, exact.dynamic_shared_bytes), (Some(1024), Some(6656)));
    let timeline = first.timeline.as_ref().unwrap();
    // 9,695,093 - 9,000,000 ns.
    assert!((timeline.start_s.unwrap() - 695_093e-9).abs() < 1e-12);
    assert_eq!((timeline.device, timeline.correlation), (Some(1), Some(65)));
    assert_eq!(
        (run.copies[0].bytes, run.copies[0].memory.as_deref()),
        (Some(4.096e6), Some("Pageable -> Device"))
    );
    // With the sums of the same kernels in one file, launches count.
    let both = read(&format!("{STATS}\n{TRACE}"));
    assert_eq!((both.kernels.len(), both.copies.len()), (2, 1));
    assert!(both.findings.iter().any(|f| f.message.contains("several tables")));
}

#[test]
fn a_trace_of_rocprofv3_gives_launches_with_grids_in_blocks() {
    let run = read(ROCPROF);
    let second = &run.kernels[1];
    assert_eq!(second.time.as_ref().unwrap().value, 100_001e-9);
    assert_eq!((second.grid.as_deref(), second.block.as_deref()), (Some("(2, 32, 1)"), Some("(256, 2, 1)")));
    assert_eq!(second.timeline.as_ref().unwrap().device, Some(2));
    assert_eq!(run.profiler.as_ref().unwrap().name, "rocprofv3");
    let stats = "\"Name\",\"Calls\",\"TotalDurationNs\",\"AverageNs\",\"Percentage\"\n\"gemm(float*)\",3,600,200.0,60.0\n\
                 \"MEMORY_COPY_HOST_TO_DEVICE\",2,400,200.0,40.0\n";
    let run = read(stats);
    assert_eq!((run.kernels[0].launches, run.copies[0].kind), (3, CopyKind::HostToDevice));
}

#[test]
fn kernels_by_range_keep_the_range_and_a_warning() {
    let run = read(
        "NVTX Range,Style,PID,TID,NVTX Inst,Kern Inst,Total Time (us),Avg (us),Med (us),Min (us),Max (us),StdDev (us),Kernel Name\n\
         decode,PushPop,1,1,2,4,10.5,1,1,1,1,0,gemm\n",
    );
    assert_eq!((run.kernels[0].nvtx.as_slice(), run.kernels[0].launches), (&["decode".to_string()][..], 4));
    assert!((run.kernels[0].time.as_ref().unwrap().value - 10.5e-6).abs() < 1e-15);
    assert!(run.findings[0].message.contains("nested ranges"));
}

#[test]
fn a_row_that_is_cut_off_is_a_finding() {
    let run = read(&ROCPROF[..ROCPROF.len() - 40]);
    assert_eq!(run.kernels.len(), 1);
    let cut = run.findings.iter().find(|f| f.about.ends_with("x.csv:3")).expect("a finding on line 3");
    assert!(cut.message.contains("cells in a table of 22 columns"), "{cut}");
    assert!(read(ROCPROF).findings.is_empty());
}

#[test]
fn what_cannot_be_read_names_its_line_and_column() {
    let error = |text: &str| read_text("x.csv", text).unwrap_err().to_string();
    let wrong = error(&STATS.replace("10650240,24", "10650240,many"));
    assert!(wrong.ends_with("x.csv:7: column Instances: 'many' is no number"), "{wrong}");
    let unit = error("Time (%),Total Time (fortnights),Instances,Name\n1,2,3,a\n");
    assert!(
        unit.contains("x.csv:2: column Total Time (fortnights)") && unit.contains("unit of time"),
        "{unit}"
    );
    let api = error("\"Name\",\"Calls\",\"TotalDurationNs\"\n\"hipLaunchKernel\",3,600\n");
    assert!(api.contains("no GPU kernel") && api.contains("kernel_stats"), "{api}");
}
