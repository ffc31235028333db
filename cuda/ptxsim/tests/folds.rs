//! Scalar instructions against NVIDIA's assembler, which computes instructions of constants itself: `folds.txt` has its results, as
//! `scripts/cuda/ptxas_folds.py` found them. Each operand and result is a letter for its register class and its bits.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use dlbc_ptx::Region;
use dlbc_ptxsim::{Memory, Settings, launch, parse};

/// Units in the last place by which a result of an approximate instruction may be off.
const APPROXIMATE_ULPS: u32 = 2;

/// Returns the PTX type of a register class, and an immediate of it.
fn immediate(class: char, digits: &str) -> (&'static str, String) {
    match class {
        'f' => ("f32", format!("0f{digits}")),
        'g' => ("f64", format!("0d{digits}")),
        'd' => ("b64", format!("0x{digits}")),
        'h' => ("b16", format!("0x{digits}")),
        _ => ("b32", format!("0x{digits}")),
    }
}

/// Executes an instruction of constants and returns the bits of its result. Operands are register class and digits.
fn execute(name: &str, operands: &[(char, &str)], result: char) -> u64 {
    let mut body = String::new();
    let mut list = vec![format!("%{result}0")];
    for (i, (class, digits)) in operands.iter().enumerate() {
        let (ty, value) = immediate(*class, digits);
        let register = format!("%{class}{}", i + 1);
        body.push_str(&format!("mov.{ty} {register}, {value};\n"));
        list.push(register);
    }
    body.push_str(&format!("{name} {};\n", list.join(", ")));
    body.push_str(match result {
        'p' => "selp.u32 %r0, 1, 0, %p0;\nst.global.b32 [%d8], %r0;\n",
        'h' => "cvt.u32.u16 %r0, %h0;\nst.global.b32 [%d8], %r0;\n",
        'd' => "st.global.b64 [%d8], %d0;\n",
        'g' => "st.global.b64 [%d8], %g0;\n",
        'f' => "st.global.b32 [%d8], %f0;\n",
        _ => "st.global.b32 [%d8], %r0;\n",
    });
    let text = format!(
        ".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .align 8 .b8 p[8])\n.maxntid 32, 1, 1\n{{\n\
         .reg .b32 %r<9>;\n.reg .b64 %d<9>;\n.reg .f32 %f<9>;\n.reg .f64 %g<9>;\n.reg .pred %p<9>;\n.reg .b16 %h<9>;\n\
         ld.param.u64 %d8, [p+0];\nmov.u32 %r8, %tid.x;\nmad.wide.s32 %d8, %r8, 8, %d8;\n{body}ret;\n}}\n"
    );
    let program = parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut memory = Memory::new(None);
    let address = memory.allocate(256).unwrap();
    memory.upload(address, &[0; 256]);
    let region = [Region { address, bytes: 256 }];
    let params = address.to_le_bytes();
    launch(&program, &params, [1, 1, 1], &mut memory, [&[], &[], &region], Settings::default()).unwrap();
    let mut bytes = [0; 256];
    memory.download(address, &mut bytes).unwrap();
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

/// Returns whether a result is that of the assembler. NaN have no bits that a kernel may rely on.
fn same(name: &str, class: char, bits: u64, expected: u64) -> bool {
    let single = |bits: u64| f32::from_bits(bits as u32);
    let is_nan = |bits: u64| match class {
        'f' => single(bits).is_nan(),
        'g' => f64::from_bits(bits).is_nan(),
        _ => false,
    };
    if bits == expected || (is_nan(bits) && is_nan(expected)) {
        return true;
    }
    let approximate = name.contains(".approx") || name.contains(".full");
    approximate && single(expected).is_finite() && (bits as u32).abs_diff(expected as u32) <= APPROXIMATE_ULPS
}

#[test]
fn scalar_instructions_compute_what_the_assembler_computes() {
    let (mut faults, mut count, mut names) = (vec![], 0, BTreeSet::new());
    for line in include_str!("folds.txt").lines() {
        let (instruction, result) = line.split_once(" = ").unwrap();
        let mut words = instruction.split(' ');
        let name = words.next().unwrap();
        let split = |word: &'static str| (word.chars().next().unwrap(), &word[1..]);
        let operands: Vec<(char, &str)> = words.map(split).collect();
        let (class, digits) = split(result);
        let expected = u64::from_str_radix(digits, 16).unwrap();
        let bits = execute(name, &operands, class);
        if !same(name, class, bits, expected) {
            faults.push(format!("{line}, found {bits:x}"));
        }
        count += 1;
        names.insert(name);
    }
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
    assert!(count > 2000 && names.len() > 50, "{count} cases of {} instructions", names.len());
    println!("{count} cases of {} instructions", names.len());
}

/// The assembler leaves fused multiply-adds to the hardware, which rounds once.
#[test]
fn fused_multiply_adds_round_once() {
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Exponents near one another, so that all bits of the product matter.
        (state >> 32) as u32 & 0x81ff_ffff | 0x3e00_0000
    };
    for _ in 0..300 {
        let [a, b, c] = [draw(), draw(), draw()];
        let exact = f32::from_bits(a).mul_add(f32::from_bits(b), f32::from_bits(c)).to_bits();
        assert_eq!(fused([a, b, c]), exact, "{a:x} * {b:x} + {c:x}");
    }
    // 1 + 2⁻²³ + 2⁻²⁴ − 2⁻⁶⁰: rounded to float64 first, it is the middle of two floats.
    assert_eq!(fused([0x3380_0020, 0x3f7f_ffc0, 0x3f80_0001]), 0x3f80_0001);
}

fn fused(operands: [u32; 3]) -> u32 {
    let digits = operands.map(|v| format!("{v:08x}"));
    execute("fma.rn.f32", &digits.each_ref().map(|d| ('f', d.as_str())), 'f') as u32
}
