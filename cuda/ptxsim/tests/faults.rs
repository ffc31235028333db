//! Each check of the interpreter reports its fault, and accepts the kernel without it.

#![allow(clippy::unwrap_used, missing_docs)]

use dlbc_ptx::Region;
use dlbc_ptxsim::{Fault, Memory, Settings, launch, parse};

/// Runs a kernel of two blocks of 64 threads, with an operand of 128 words and a result of 128 words.
fn run(body: &str) -> Result<Vec<u32>, Fault> {
    let text = format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .align 8 .b8 p[16])\n\
         .maxntid 64, 1, 1\n{{\n.reg .b32 %r<20>;\n.reg .b64 %d<20>;\n.reg .f32 %f<40>;\n.reg .pred %p<8>;\n\
         .shared .align 16 .b8 smem[1024];\n\
         ld.param.u64 %d0, [p+0];\nld.param.u64 %d1, [p+8];\nmov.u32 %r0, %tid.x;\nmov.u32 %r1, %ctaid.x;\n\
         mad.lo.u32 %r2, %r1, 64, %r0;\nmad.wide.s32 %d2, %r2, 4, %d0;\nmad.wide.s32 %d3, %r2, 4, %d1;\n\
         {body}\nret;\n}}\n"
    );
    let program = parse(&text)?;
    let mut memory = Memory::new(None);
    let [x, y] = [512, 512].map(|bytes| memory.allocate(bytes).unwrap());
    memory.upload(x, &(0..128u32).flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let params = [x.to_le_bytes(), y.to_le_bytes()].concat();
    let regions = [&[Region { address: x, bytes: 512 }][..], &[Region { address: y, bytes: 512 }], &[]];
    let settings = Settings { schedule: 3, limit: 100_000, ..Settings::default() };
    launch(&program, &params, [2, 1, 1], &mut memory, regions, settings)?;
    let mut bytes = vec![0; 512];
    memory.download(y, &mut bytes).unwrap();
    Ok(bytes.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect())
}

fn kind(body: &str) -> &'static str {
    run(body).unwrap_err().kind
}

const COPY: &str = "ld.global.u32 %r3, [%d2];\nst.global.u32 [%d3], %r3;";

#[test]
fn a_copy_is_right() {
    assert_eq!(run(COPY).unwrap(), (0..128).collect::<Vec<u32>>());
}

#[test]
fn memory_faults() {
    assert_eq!(kind("ld.global.u32 %r3, [%d2];\nst.global.u32 [%d2], %r3;"), "write outside the results");
    assert_eq!(kind("ld.global.u32 %r3, [%d2+4];\nst.global.u32 [%d3], %r3;"), "read outside the operands");
    assert_eq!(kind("ld.global.u32 %r3, [%d2+2];\nst.global.u32 [%d3], %r3;"), "misaligned");
    assert_eq!(
        kind("ld.global.u32 %r3, [%d3];\nst.global.u32 [%d3], %r3;"),
        "read of memory that nobody wrote"
    );
    assert_eq!(kind("st.global.u32 [%d3], %r3;"), "read of a register that nobody wrote");
    assert_eq!(kind("setp.lt.u32 %p0, %r2, 100;\n@%p0 st.global.u32 [%d3], %r2;"), "result not written");
    assert_eq!(kind("st.global.u32 [%d1], %r2;"), "race in global memory");
    assert_eq!(kind("red.global.or.b32 [%d1], 1;"), "atomic operation on a result");
    // A thread reads a word that another one wrote.
    let neighbour = "st.global.u32 [%d3], %r2;\nxor.b32 %r4, %r2, 32;\nmad.wide.s32 %d4, %r4, 4, %d1;\nbar.sync 0;\n\
                     ld.global.u32 %r5, [%d4];";
    assert_eq!(kind(neighbour), "race in global memory");
}

#[test]
fn faults_between_threads_of_a_block() {
    let exchange = |barrier: &str| {
        format!(
            "mov.u32 %r3, smem;\nmad.lo.u32 %r3, %r0, 4, %r3;\nst.shared.u32 [%r3], %r2;\n{barrier}\n\
             xor.b32 %r4, %r0, 33;\nmov.u32 %r5, smem;\nmad.lo.u32 %r5, %r4, 4, %r5;\nld.shared.u32 %r6, [%r5];\n\
             st.global.u32 [%d3], %r6;"
        )
    };
    let swapped: Vec<u32> = (0..128).map(|i| i ^ 33).collect();
    assert_eq!(run(&exchange("bar.sync 0;")).unwrap(), swapped);
    let fault = kind(&exchange(""));
    assert!(matches!(fault, "race in shared memory" | "read of shared memory that nobody wrote"), "{fault}");
    let again = format!("{}\nst.shared.u32 [%r3], %r6;", exchange("bar.sync 0;"));
    assert_eq!(kind(&again), "race in shared memory");
    assert_eq!(
        kind("mov.u32 %r3, smem;\nld.shared.u32 %r4, [%r3];"),
        "read of shared memory that nobody wrote"
    );
    assert_eq!(kind("mov.u32 %r3, smem;\nst.shared.u32 [%r3+1024], %r0;"), "access outside shared memory");
    assert_eq!(kind("setp.lt.u32 %p0, %r0, 7;\n@%p0 bra X;\nbar.sync 0;\nX:"), "barrier");
    assert_eq!(kind("setp.lt.u32 %p0, %r0, 32;\n@%p0 bra X;\nbar.sync 0;\nX:"), "barrier");
    let half = "setp.lt.u32 %p0, %r0, 7;\n@%p0 bra X;\nshfl.sync.bfly.b32 %r4, %r0, 1, 31, 0xffffffff;\nX:";
    assert_eq!(kind(half), "shuffle");
    assert_eq!(kind("X:\nbra X;"), "endless");
}

#[test]
fn asynchronous_copies_land_when_they_are_waited_for() {
    let copy = |wait: &str, barrier: &str| {
        format!(
            "shl.b32 %r3, %r0, 4;\nmov.u32 %r4, smem;\nadd.u32 %r4, %r4, %r3;\nshl.b32 %r5, %r0, 2;\nand.b32 %r5, %r5, 127;\n\
             mad.wide.s32 %d4, %r5, 4, %d0;\ncp.async.cg.shared.global [%r4], [%d4], 16, 16;\ncp.async.commit_group;\n{wait}\n\
             {barrier}\nxor.b32 %r6, %r0, 1;\nshl.b32 %r6, %r6, 4;\nmov.u32 %r7, smem;\nadd.u32 %r7, %r7, %r6;\n\
             ld.shared.u32 %r8, [%r7];\nst.global.u32 [%d3], %r8;"
        )
    };
    let right = run(&copy("cp.async.wait_group 0;", "bar.sync 0;")).unwrap();
    assert_eq!(right[..3], [4, 0, 12]);
    for (wait, barrier) in
        [("cp.async.wait_group 1;", "bar.sync 0;"), ("", "bar.sync 0;"), ("cp.async.wait_group 0;", "")]
    {
        assert_eq!(kind(&copy(wait, barrier)), "race in shared memory", "{wait} {barrier}");
    }
}

#[test]
fn asynchronous_copies_fill_up_with_zeros_and_outlive_no_thread() {
    let copy = |bytes: u32, wait: &str| {
        format!(
            "shl.b32 %r3, %r0, 2;\nmov.u32 %r4, smem;\nadd.u32 %r4, %r4, %r3;\n\
             cp.async.ca.shared.global [%r4], [%d2], 4, {bytes};\ncp.async.commit_group;\n{wait}\nld.shared.u32 %r8, [%r4];\n\
             st.global.u32 [%d3], %r8;"
        )
    };
    let wait = "cp.async.wait_group 0;";
    assert_eq!(run(&copy(4, wait)).unwrap(), (0..128).collect::<Vec<u32>>());
    assert_eq!(run(&copy(0, wait)).unwrap(), vec![0; 128]);
    assert_eq!(kind(&copy(8, wait)), "misaligned");
    let forgotten = copy(4, "").replace("ld.shared.u32 %r8, [%r4];", "mov.u32 %r8, 1;");
    assert_eq!(kind(&forgotten), "return while copies are under way");
}

#[test]
fn tensor_core_operands_must_be_rounded() {
    let product = |operand: &str| {
        let sums: String = (0..4).map(|i| format!("mov.f32 %f{i}, 0f00000000;\n")).collect();
        format!(
            "{sums}mov.f32 %f8, {operand};\ncvt.rna.tf32.f32 %r3, %f8;\nmov.b32 %r4, %f8;\n\
             mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {{%f4, %f5, %f6, %f7}}, {{%r3, %r3, %r3, %r3}}, {{%r4, %r3}}, \
             {{%f0, %f1, %f2, %f3}};\nmov.b32 %r5, %f4;\nst.global.u32 [%d3], %r5;"
        )
    };
    // Eight products of 1.5 and 1.5.
    assert_eq!(run(&product("0f3FC00000")).unwrap(), vec![18f32.to_bits(); 128]);
    assert_eq!(kind(&product("0f3FC00001")), "tensor-core operand not rounded to tf32");
    // The bits that are ignored must not turn NaN into infinity.
    assert!(run(&product("0f7FFFFFFF")).unwrap().iter().all(|v| f32::from_bits(*v).is_nan()));
    assert_eq!(kind(&product("0f7F800001")), "tensor-core operand not rounded to tf32");
}

#[test]
fn pairs_of_bfloat16_lie_in_order_of_depth() {
    // Row by column of 16: 1.5 in the even depths and 2 in the odd ones, by 1 and 4.
    let sums: String = (0..4).map(|i| format!("mov.f32 %f{i}, 0f3F800000;\n")).collect();
    let body = format!(
        "{sums}mov.f32 %f8, 0f3FC00000;\nmov.f32 %f9, 0f40000000;\ncvt.rn.bf16x2.f32 %r3, %f9, %f8;\n\
         mov.f32 %f8, 0f3F800000;\nmov.f32 %f9, 0f40800000;\ncvt.rn.bf16x2.f32 %r4, %f9, %f8;\n\
         mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {{%f4, %f5, %f6, %f7}}, {{%r3, %r3, %r3, %r3}}, {{%r4, %r4}}, \
         {{%f0, %f1, %f2, %f3}};\nmov.b32 %r5, %f4;\nst.global.u32 [%d3], %r5;"
    );
    assert_eq!(run(&body).unwrap(), vec![(1.0f32 + 8.0 * (1.5 + 8.0)).to_bits(); 128]);
}

#[test]
fn halves_of_words_are_loaded_by_themselves() {
    let body = "shl.b32 %r3, %r2, 1;\nmad.wide.s32 %d4, %r3, 1, %d0;\nld.global.u16 %r4, [%d4];\nst.global.u32 [%d3], %r4;";
    // Words count up, so upper halves are 0.
    let halves: Vec<u32> = (0..128).map(|i| if i % 2 == 0 { i / 2 } else { 0 }).collect();
    assert_eq!(run(body).unwrap(), halves);
    assert_eq!(kind(&body.replace("%r3, 1,", "%r0, 1,")), "misaligned");
    let shared = "mov.u32 %r3, smem;\nmad.lo.u32 %r3, %r0, 4, %r3;\nshl.b32 %r4, %r2, 16;\nst.shared.u32 [%r3], %r4;\n\
                  ld.shared.u16 %r5, [%r3+2];\nst.global.u32 [%d3], %r5;";
    assert_eq!(run(shared).unwrap(), (0..128).collect::<Vec<u32>>());
    assert_eq!(kind(&shared.replace("[%r3+2]", "[%r3+1]")), "misaligned");
    assert_eq!(kind(&shared.replace("[%r3+2]", "[%r3+1026]")), "access outside shared memory");
}

#[test]
fn unknown_instructions_are_rejected() {
    for body in ["foo.u32 %r1, %r2;", "add.u32 %r1, %r99, 1;", "bra NOWHERE;", "mov.u32 %r1, 2", ".section x"]
    {
        assert_eq!(kind(body), "unreadable", "{body}");
    }
}
