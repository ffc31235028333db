//! Several launches of one kernel with grids of one size, side by side.
//!
//! The kernel's text is rewritten: it takes a parameter block for each launch, its blocks along z tell which launch they belong
//! to, and each parameter is loaded from all blocks and selected. Nothing else changes, so results have the same bits.

use std::fmt::Write;

use crate::device::Kernel;

/// Maximum number of launches.
pub const MAX_LAUNCHES: usize = 4;

/// Returns the distance between the parameter blocks of launches, for blocks of `bytes`.
pub fn block_stride(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

/// Description of a rewritten kernel.
#[derive(Clone, Debug)]
pub struct SideBySide {
    /// The kernel of a single launch.
    pub kernel: Kernel,
    /// Number of launches.
    pub launches: usize,
}

/// Returns the kernel that runs `launches` launches of `kernel` with as many times the blocks along z: block `z` is block
/// `z / launches` of launch `z % launches`. `None` for a text that the emitter does not write.
pub fn side_by_side(kernel: &Kernel, launches: usize) -> Option<Kernel> {
    let name = format!("{}_x{launches}", kernel.name);
    let (head, rest) = kernel.text.split_once(".b8 p[")?;
    let (bytes, rest) = rest.split_once(']')?;
    let stride = block_stride(bytes.parse().ok()?);
    let (attributes, body) = rest.split_once("{\n")?;
    let head = head.replace(&format!(".entry {}(", kernel.name), &format!(".entry {name}("));
    let mut text = format!("{head}.b8 p[{}]{attributes}{{\n", stride * launches);

    let declares = |line: &str| [".reg ", ".shared "].iter().any(|word| line.trim_start().starts_with(word));
    let (declarations, code): (Vec<&str>, Vec<&str>) = body.lines().partition(|line| declares(line));
    // Registers of the launch and of loaded parameters, behind those of the kernel.
    let mut registers = Registers::default();
    for line in declarations {
        registers.declare(&mut text, line)?;
    }
    let [block, launch, first] = ["%r", "%r", "%r"].map(|class| registers.add(class));
    let other = ["%r", "%d", "%f"].map(|class| registers.add(class));
    let is_launch: Vec<String> = (1..launches).map(|_| registers.add("%p")).collect();
    registers.finish(&mut text);
    let mut line = |instruction: String| {
        let _ = writeln!(text, "    {instruction};");
    };
    line(format!("mov.u32 {first}, %ctaid.z"));
    line(format!("div.u32 {block}, {first}, {launches}"));
    line(format!("mul.lo.u32 {launch}, {block}, {launches}"));
    line(format!("sub.u32 {launch}, {first}, {launch}"));
    for (i, p) in is_launch.iter().enumerate() {
        line(format!("setp.eq.u32 {p}, {launch}, {}", i + 1));
    }
    for code in code {
        let Some((load, address)) = code.split_once(", [p+").filter(|(load, _)| load.contains("ld.param."))
        else {
            let _ = writeln!(text, "{}", code.replace("%ctaid.z", &block));
            continue;
        };
        let offset: usize = address.strip_suffix("];")?.parse().ok()?;
        let (instruction, target) = load.trim().split_once(' ')?;
        let (other, ty) = match target.get(..2)? {
            "%r" => (&other[0], "b32"),
            "%d" => (&other[1], "b64"),
            "%f" => (&other[2], "f32"),
            _ => return None,
        };
        let _ = writeln!(text, "{code}");
        for (i, p) in is_launch.iter().enumerate() {
            let _ = writeln!(text, "    {instruction} {other}, [p+{}];", offset + (i + 1) * stride);
            let _ = writeln!(text, "    selp.{ty} {target}, {other}, {target}, {p};");
        }
    }
    let rewritten = Kernel { name, text, ..kernel.clone() };
    Some(rewritten.of_variant(SideBySide { kernel: kernel.clone(), launches }))
}

/// Declared registers of a text.
#[derive(Default)]
struct Registers {
    /// PTX type, prefix and number of each class.
    classes: Vec<(String, String, usize)>,
}

impl Registers {
    /// Reads a declaration of registers; copies any other.
    fn declare(&mut self, text: &mut String, line: &str) -> Option<()> {
        let Some(declaration) = line.trim().strip_prefix(".reg .") else {
            let _ = writeln!(text, "{line}");
            return Some(());
        };
        let (ty, registers) = declaration.split_once(' ')?;
        let (prefix, count) = registers.strip_suffix(">;")?.split_once('<')?;
        self.classes.push((ty.into(), prefix.into(), count.parse().ok()?));
        Some(())
    }

    /// Adds a register of a class and returns its name.
    fn add(&mut self, prefix: &str) -> String {
        let index = self.classes.iter().position(|(_, p, _)| p == prefix).unwrap_or_else(|| {
            let ty = match prefix {
                "%d" => "b64",
                "%f" => "f32",
                "%p" => "pred",
                _ => "b32",
            };
            self.classes.push((ty.into(), prefix.into(), 0));
            self.classes.len() - 1
        });
        let count = &mut self.classes[index].2;
        *count += 1;
        format!("{prefix}{}", *count - 1)
    }

    fn finish(&self, text: &mut String) {
        for (ty, prefix, count) in &self.classes {
            let _ = writeln!(text, "    .reg .{ty} {prefix}<{count}>;");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::kernel::softmax::softmax;

    #[test]
    fn parameters_are_selected_by_launch() {
        let kernel = side_by_side(&softmax(), 3).unwrap();
        assert_eq!(kernel.name, "softmax_x3");
        assert!(kernel.text.contains(".entry softmax_x3(.param .align 8 .b8 p[96])"), "{}", kernel.text);
        let loads = |text: &str| text.matches("ld.param.").count();
        assert_eq!(loads(&kernel.text), 3 * loads(&softmax().text));
        assert_eq!(kernel.text.matches("%ctaid.z").count(), 1);
        let other = Kernel { text: "an assembler's own text".into(), ..softmax() };
        assert_eq!(side_by_side(&other, 2), None);
    }
}
