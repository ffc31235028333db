//! Parser of the PTX that the emitter writes. Anything unknown is an error and never skipped.

use std::collections::HashMap;

use dlbc_ptx::Kernel;

use crate::Fault;
use crate::program::{Exchange, Instruction, Join, MmaType, Op, Operand, Program, Space};

mod arithmetic;

/// Parses a kernel without dynamic shared memory.
///
/// # Errors
/// When a line cannot be parsed; the fault names it.
pub fn parse(text: &str) -> Result<Program, Fault> {
    read(text, 0)
}

/// Parses an emitted kernel, with its dynamic shared memory.
///
/// # Errors
/// When a line cannot be parsed; the fault names it.
pub fn load(kernel: &Kernel) -> Result<Program, Fault> {
    read(&kernel.text, kernel.shared as usize)
}

fn read(text: &str, dynamic: usize) -> Result<Program, Fault> {
    let mut reader = Reader { dynamic, ..Reader::default() };
    for (i, line) in text.lines().enumerate() {
        reader.line = i as u32 + 1;
        let line = line.split("//").next().unwrap_or_default().trim();
        reader.statement(line)?;
    }
    reader.finish()
}

/// Registers of a declaration.
#[derive(Clone, Copy)]
struct RegisterClass {
    /// Index of the first register.
    first: usize,
    count: usize,
    is_64_bit: bool,
}

#[derive(Default)]
struct Reader {
    line: u32,
    instructions: Vec<Instruction>,
    /// Register classes by the letter of their names.
    classes: HashMap<String, RegisterClass>,
    registers: [usize; 2],
    labels: HashMap<String, usize>,
    jumps: Vec<(usize, String)>,
    threads: u32,
    params: usize,
    shared: usize,
    /// Dynamic shared memory in bytes.
    dynamic: usize,
}

impl Reader {
    fn fault(&self, detail: impl Into<String>) -> Fault {
        Fault { kind: "unreadable", line: self.line, detail: detail.into() }
    }

    fn statement(&mut self, line: &str) -> Result<(), Fault> {
        if line.is_empty() || matches!(line, "{" | "}") {
            return Ok(());
        }
        if line.starts_with('.') {
            return self.directive(line);
        }
        if let Some(label) = line.strip_suffix(':') {
            self.labels.insert(label.into(), self.instructions.len());
            return Ok(());
        }
        let text = line.strip_suffix(';').ok_or_else(|| self.fault(format!("no `;` ends `{line}`")))?;
        self.instruction(text)
    }

    fn directive(&mut self, line: &str) -> Result<(), Fault> {
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| self.fault(line));
        let between = |open: char, close: char| {
            let inner = line.rsplit_once(open).and_then(|(_, rest)| rest.split_once(close));
            inner.map(|(inner, _)| inner).ok_or_else(|| self.fault(line))
        };
        if let Some(rest) = line.strip_prefix(".maxntid") {
            self.threads = number(rest.split(',').next().unwrap_or_default())? as u32;
        } else if line.starts_with(".visible") {
            self.params = number(between('[', ']')?)?;
        } else if line.starts_with(".extern .shared") {
            // Its size comes from the launch.
            self.shared = self.dynamic;
        } else if line.starts_with(".shared") {
            self.shared = number(between('[', ']')?)?;
        } else if let Some(rest) = line.strip_prefix(".reg .") {
            let (ty, rest) = rest.split_once(" %").ok_or_else(|| self.fault(line))?;
            let (class, _) = rest.split_once('<').ok_or_else(|| self.fault(line))?;
            let count = number(between('<', '>')?)?;
            let is_64_bit = matches!(ty, "b64" | "f64");
            let file = usize::from(is_64_bit);
            let first = self.registers[file];
            self.classes.insert(class.into(), RegisterClass { first, count, is_64_bit });
            self.registers[file] += count;
        } else if ![".version", ".target", ".address_size", ".minnctapersm", ".pragma"]
            .iter()
            .any(|d| line.starts_with(d))
        {
            return Err(self.fault(line));
        }
        Ok(())
    }

    fn register(&self, name: &str) -> Result<Operand, Fault> {
        let unknown = || self.fault(format!("no register {name}"));
        let name = name.trim().strip_prefix('%').ok_or_else(unknown)?;
        match name {
            "tid.x" => return Ok(Operand::Thread),
            "ctaid.x" => return Ok(Operand::Block(0)),
            "ctaid.y" => return Ok(Operand::Block(1)),
            "ctaid.z" => return Ok(Operand::Block(2)),
            _ => {}
        }
        let digits = name.find(|c: char| c.is_ascii_digit()).ok_or_else(unknown)?;
        let (class, index) = name.split_at(digits);
        let RegisterClass { first, count, is_64_bit } = *self.classes.get(class).ok_or_else(unknown)?;
        let index: usize = index.parse().ok().filter(|i| *i < count).ok_or_else(unknown)?;
        Ok(if is_64_bit { Operand::R64(first + index) } else { Operand::R32(first + index) })
    }

    fn value(&self, text: &str) -> Result<Operand, Fault> {
        let text = text.trim();
        let bits = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| self.fault(text));
        if text.starts_with('%') {
            return self.register(text);
        }
        let number = match text {
            "smem" => 0,
            _ if text.starts_with("0x") => bits(&text[2..])?,
            _ if text.starts_with("0f") || text.starts_with("0d") => bits(&text[2..])?,
            _ => text.parse::<i64>().map_err(|_| self.fault(format!("no value `{text}`")))? as u64,
        };
        Ok(Operand::Immediate(number))
    }

    /// Parses a value, or several in braces.
    fn list(&self, text: &str) -> Result<Vec<Operand>, Fault> {
        match text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Some(inner) => inner.split(',').map(|t| self.value(t)).collect(),
            None => Ok(vec![self.value(text)?]),
        }
    }

    /// Parses `[base+offset]`.
    fn address(&self, text: &str) -> Result<(Operand, i64), Fault> {
        let inner = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let inner = inner.ok_or_else(|| self.fault(format!("no address `{text}`")))?;
        let (base, offset) = inner.split_once('+').unwrap_or((inner, "0"));
        let offset = offset.trim().parse().map_err(|_| self.fault(text))?;
        let base = if base.trim() == "p" { Operand::Immediate(0) } else { self.value(base)? };
        Ok((base, offset))
    }

    fn instruction(&mut self, text: &str) -> Result<(), Fault> {
        let (guard, text) = match text.strip_prefix('@') {
            None => (None, text),
            Some(rest) => {
                let (p, rest) = rest.split_once(' ').ok_or_else(|| self.fault(text))?;
                let (p, expected) = p.strip_prefix('!').map_or((p, true), |p| (p, false));
                let Operand::R32(p) = self.register(p)? else { return Err(self.fault("no predicate")) };
                (Some((p, expected)), rest.trim())
            }
        };
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let parts = split(rest);
        let arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
        let words: Vec<&str> = name.split('.').collect();
        let mut instruction = Instruction {
            op: Op::Return,
            targets: vec![],
            sources: vec![],
            offset: 0,
            guard,
            line: self.line,
        };
        match (words.as_slice(), arguments.as_slice()) {
            (["ret"], []) => {}
            (["bra"], [label]) => {
                self.jumps.push((self.instructions.len(), label.to_string()));
                instruction.op = Op::Branch(0);
            }
            (["bar", "sync"], ["0"]) => instruction.op = Op::Barrier,
            (["ld", "param", _], [target, address]) => {
                instruction.op = Op::Parameter;
                instruction.targets = self.list(target)?;
                instruction.offset = self.address(address)?.1;
            }
            (["ld", space, .., ty], [target, address]) | (["st", space, .., ty], [address, target]) => {
                let space = match *space {
                    "global" => Space::Global,
                    "shared" => Space::Shared,
                    _ => return Err(self.fault(name)),
                };
                instruction.targets = self.list(target)?;
                let is_64_bit = instruction.targets.iter().any(|p| matches!(p, Operand::R64(_)));
                let is_half = ty.ends_with("16") && instruction.targets.len() == 1;
                instruction.op = match (words[0], space) {
                    ("ld", _) if is_half => Op::LoadHalf(space),
                    ("ld", _) => Op::Load(space),
                    (_, Space::Global) if is_half => Op::StoreHalf,
                    _ if is_half => return Err(self.fault(name)),
                    _ => Op::Store(space),
                };
                if is_64_bit != ty.ends_with("64") || !(is_64_bit || is_half || ty.ends_with("32")) {
                    return Err(self.fault(format!("`{name}` of other registers")));
                }
                let (base, offset) = self.address(address)?;
                (instruction.sources, instruction.offset) = (vec![base], offset);
            }
            (["red", "global", "or", "b32"], [address, value]) => {
                instruction.op = Op::ReduceOr;
                let (base, offset) = self.address(address)?;
                (instruction.sources, instruction.offset) = (vec![base, self.value(value)?], offset);
            }
            (["shfl", "sync", mode, "b32"], [target, value, distance, clamp, "0xffffffff"]) => {
                instruction.op = Op::Shuffle(match (*mode, *clamp) {
                    ("bfly", "31") => Exchange::Butterfly,
                    ("up", "0") => Exchange::Up,
                    ("idx", "31") => Exchange::Index,
                    _ => return Err(self.fault(format!("unknown `{text}`"))),
                });
                instruction.targets = self.list(target)?;
                instruction.sources = vec![self.value(value)?, self.value(distance)?];
            }
            (["cp", "async", "cg", "shared", "global"], [target, address, width @ "16", size])
            | (["cp", "async", "ca", "shared", "global"], [target, address, width @ ("4" | "8"), size]) => {
                instruction.op = Op::CopyAsync(width.parse().map_err(|_| self.fault(name))?);
                let (base, offset) = self.address(target)?;
                (instruction.sources, instruction.offset) =
                    (vec![base, self.address(address)?.0, self.value(size)?], offset);
            }
            (["cp", "async", "commit_group"], []) => instruction.op = Op::CopyCommit,
            (["cp", "async", "wait_group"], [count]) => {
                instruction.op = Op::CopyWait(count.parse().map_err(|_| self.fault(name))?);
            }
            (
                ["mma", "sync", "aligned", "m16n8k8", "row", "col", "f32", "tf32", "tf32", "f32"],
                [d, a, b, c],
            ) => {
                instruction.op = Op::Mma(MmaType::Tf32);
                instruction.targets = self.list(d)?;
                instruction.sources = [self.list(a)?, self.list(b)?, self.list(c)?].concat();
            }
            (
                ["mma", "sync", "aligned", "m16n8k16", "row", "col", "f32", "bf16", "bf16", "f32"],
                [d, a, b, c],
            ) => {
                instruction.op = Op::Mma(MmaType::Bf16);
                instruction.targets = self.list(d)?;
                instruction.sources = [self.list(a)?, self.list(b)?, self.list(c)?].concat();
            }
            (["mov", "b64"], [target, source]) if source.starts_with('{') => {
                instruction.op = Op::Pack;
                (instruction.targets, instruction.sources) = (self.list(target)?, self.list(source)?);
            }
            (["mov", ty @ ("b64" | "b32")], [target, source]) if target.starts_with('{') => {
                instruction.op = if *ty == "b64" { Op::Unpack } else { Op::UnpackHalves };
                (instruction.targets, instruction.sources) = (self.list(target)?, self.list(source)?);
            }
            (_, [target, sources @ ..]) => {
                instruction.op =
                    arithmetic::op(&words).ok_or_else(|| self.fault(format!("unknown `{name}`")))?;
                instruction.targets = self.list(target)?;
                instruction.sources = sources.iter().map(|s| self.value(s)).collect::<Result<_, _>>()?;
            }
            _ => return Err(self.fault(format!("unknown `{text}`"))),
        }
        self.instructions.push(instruction);
        Ok(())
    }

    fn finish(mut self) -> Result<Program, Fault> {
        for (at, label) in std::mem::take(&mut self.jumps) {
            let target = *self.labels.get(&label).ok_or_else(|| self.fault(format!("no label {label}")))?;
            self.instructions[at].op = Op::Branch(target);
        }
        if self.threads == 0 || !self.threads.is_multiple_of(32) {
            return Err(self.fault("threads of a block must be a multiple of 32"));
        }
        Ok(Program {
            instructions: self.instructions,
            registers: self.registers,
            threads: self.threads,
            params: self.params,
            shared: self.shared,
        })
    }
}

/// Splits a list at the commas outside brackets.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut depth) = (vec![String::new()], 0);
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.iter().map(|p| p.trim().to_string()).filter(|p| !p.is_empty()).collect()
}

/// Returns the combination of a comparison with a predicate, and the parts of its name without it.
pub(crate) fn join<'a>(words: &'a [&'a str]) -> (Join, Vec<&'a str>) {
    match words {
        [head, op, "and", rest @ ..] => (Join::And, [&[*head, *op], rest].concat()),
        [head, op, "or", rest @ ..] => (Join::Or, [&[*head, *op], rest].concat()),
        _ => (Join::Alone, words.to_vec()),
    }
}
