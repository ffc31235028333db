//! The interpreter as a device for programs that are not written in Rust: commands on the standard input, answers on the output.
//!
//! A command is a line of words, followed by as many bytes as its last word says; an answer is `ok` with numbers, or `fault`
//! with a message. Every allocation may be read and written by every launch, and is filled with a pattern at first.
//!
//! ```text
//! load NAME SHARED BYTES     the text follows; answers with its number, its threads and the size of its parameter block
//! allocate BYTES             answers with the address
//! release ADDRESS
//! write ADDRESS BYTES        the bytes follow
//! read ADDRESS BYTES         the bytes follow the answer
//! launch NUMBER X Y Z BYTES  the parameter block follows; answers with the executed instructions
//! ```

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Read, Write};

use dlbc_ptx::{Kernel, Region};
use dlbc_ptxsim::{Memory, Program, Settings, launch, load};

/// Content of memory that nobody wrote.
const PATTERN: u8 = 0xcd;

#[derive(Default)]
struct Server {
    memory: Memory,
    programs: Vec<(Kernel, Program)>,
    regions: Vec<Region>,
}

impl Server {
    fn answer(&mut self, words: &[&str], payload: &[u8]) -> Result<(String, Vec<u8>), String> {
        let number = |i: usize| words.get(i).and_then(|w| w.parse::<u64>().ok()).ok_or("a number is missing");
        let empty = |text: String| Ok((text, vec![]));
        match words[0] {
            "load" => {
                let text = String::from_utf8(payload.to_vec()).map_err(|e| e.to_string())?;
                let kernel = Kernel {
                    name: words[1].into(),
                    text,
                    threads: 0,
                    shared: number(2)? as u32,
                    variant: None,
                };
                let program = load(&kernel).map_err(|e| e.to_string())?;
                let sizes = format!("{} {}", program.threads, program.params);
                self.programs.push((kernel, program));
                empty(format!("{} {sizes}", self.programs.len() - 1))
            }
            "allocate" => {
                let bytes = number(1)?.next_multiple_of(4);
                let address = self.memory.allocate(bytes).map_err(|e| e.to_string())?;
                self.memory.upload(address, &vec![PATTERN; bytes as usize]);
                self.regions.push(Region { address, bytes });
                empty(address.to_string())
            }
            "release" => {
                let address = number(1)?;
                self.memory.release(address);
                self.regions.retain(|r| r.address != address);
                empty(String::new())
            }
            "write" => {
                self.inside(number(1)?, number(2)?)?;
                self.memory.upload(number(1)?, payload);
                empty(String::new())
            }
            "read" => {
                self.inside(number(1)?, number(2)?)?;
                let mut bytes = vec![0; number(2)? as usize];
                self.memory.download(number(1)?, &mut bytes)?;
                Ok((String::new(), bytes))
            }
            "launch" => {
                let (kernel, program) = self.programs.get(number(1)? as usize).ok_or("no such kernel")?;
                let grid = [number(2)? as u32, number(3)? as u32, number(4)? as u32];
                let regions: [&[Region]; 3] = [&[], &[], &self.regions];
                let stats = launch(program, payload, grid, &mut self.memory, regions, Settings::default());
                stats
                    .map_err(|e| format!("{}: {e}", kernel.name))
                    .map(|s| (s.instructions.to_string(), vec![]))
            }
            other => Err(format!("unknown command {other}")),
        }
    }

    /// Checks that a copy stays within an allocation and moves whole words.
    fn inside(&self, address: u64, bytes: u64) -> Result<(), String> {
        let fits = |r: &Region| address >= r.address && address + bytes <= r.address + r.bytes;
        let whole = address.is_multiple_of(4) && bytes.is_multiple_of(4);
        if whole && self.regions.iter().any(fits) { Ok(()) } else { Err("copy outside the memory".into()) }
    }
}

fn main() {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let (mut server, mut line) = (Server::default(), String::new());
    while input.read_line(&mut line).unwrap() > 0 {
        let words: Vec<&str> = line.split_whitespace().collect();
        let takes_bytes = matches!(words[0], "load" | "write" | "launch");
        let mut payload = vec![0; if takes_bytes { words.last().unwrap().parse().unwrap() } else { 0 }];
        input.read_exact(&mut payload).unwrap();
        match server.answer(&words, &payload) {
            Ok((numbers, bytes)) => {
                writeln!(output, "ok {numbers}").unwrap();
                output.write_all(&bytes).unwrap();
            }
            Err(message) => writeln!(output, "fault {}", message.replace('\n', " ")).unwrap(),
        }
        output.flush().unwrap();
        line.clear();
    }
}
