//! Choices that the kernel of a tile is put together from: its size, how operands get to shared memory, and the unit that
//! multiplies them. The type of stored operands is theirs ([`super::Source::storage`]), the sums are [`super::SecondProduct`]'s.

use crate::kernel::storage::Storage;

/// Tile of a block, and how it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows of the result per block.
    pub rows: u32,
    /// Columns of the result per block.
    pub columns: u32,
    /// Depth of a stage.
    pub depth: u32,
    /// Way of operands to shared memory.
    pub transfer: Transfer,
    /// Arithmetic unit that multiplies the tile.
    pub unit: Unit,
}

/// Way of operands from global to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// Threads load the next stage into registers while the current one is multiplied, and store it afterwards.
    Registers,
    /// Asynchronous copies fill a ring of stages ahead of the one that is multiplied. They take at least 4 bytes, and keep
    /// 16 bytes together.
    CpAsync,
}

/// Arithmetic unit that multiplies a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Fused multiply-adds of scalar threads. Each computes a square with this many rows and columns, a multiple of 4.
    Fma(u32),
    /// `mma.sync` on tensor cores. Each warp computes a rectangle of these rows and columns.
    Mma([u32; 2], Math),
}

/// Arithmetic of tensor cores on float32 operands. Products are exact, sums are float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    /// 3xTF32: each operand is split into two tf32 values, its upper bits and the upper bits of the remainder, and a product
    /// takes three multiplications. An infinite operand gives NaN.
    Split,
    /// Operands are rounded to tf32, 11 bits of precision.
    Tf32,
    /// Operands are rounded to bfloat16, 8 bits of precision.
    Bf16,
}

impl Math {
    /// Returns the bound on an element's error from rounded operands, relative to the sum of its magnitudes `|a b|`: half a
    /// unit in the last place for each operand; for split operands, the omitted fourth product and the bits below both parts.
    pub const fn rounding(self) -> f64 {
        match self {
            Math::Split => 1.0 / (1 << 19) as f64,
            Math::Tf32 => 1.0 / (1 << 10) as f64,
            Math::Bf16 => 1.0 / (1 << 7) as f64,
        }
    }

    /// Returns the depth of a step, whose sum tensor cores compute from zero.
    pub const fn step(self) -> usize {
        match self {
            Math::Split => 8,
            Math::Tf32 | Math::Bf16 => 16,
        }
    }

    /// Returns the bound on an element's error, relative to the sum of its magnitudes: that of rounded operands, of a step on
    /// tensor cores, and of one addition for each step.
    ///
    /// Tensor cores add blocks of four products (tf32) or eight (bfloat16). They align the products and the sum so far to the
    /// largest of them and truncate each, and then their sum, to 24 bits: for n products at most n + 2 units of 2⁻²³.
    pub const fn error(self, depth: usize) -> f64 {
        let block = match self {
            Math::Split | Math::Tf32 => 4,
            Math::Bf16 => 8,
        };
        let step = 2 * (self.step() / block) * (block + 2);
        // The small products of split operands add less than one.
        let units = step + 1 + depth.div_ceil(self.step());
        self.rounding() + units as f64 / (1 << 24) as f64
    }
}

impl Tile {
    /// Tile for few rows.
    pub const FLAT: Tile = Tile::scalar([16, 64, 16], 4);
    /// Tile for most products.
    pub const SMALL: Tile = Tile::scalar([64, 64, 16], 4);
    /// Tile for large products.
    pub const LARGE: Tile = Tile::scalar([128, 128, 8], 8);

    const fn scalar([rows, columns, depth]: [u32; 3], side: u32) -> Tile {
        Tile { rows, columns, depth, transfer: Transfer::Registers, unit: Unit::Fma(side) }
    }

    /// Returns the tile for tensor cores.
    pub const fn tensor(math: Math) -> Tile {
        let unit = Unit::Mma([32, 32], math);
        Tile { rows: 64, columns: 64, depth: 16, transfer: Transfer::CpAsync, unit }
    }

    /// Returns the tile for large products on tensor cores.
    pub const fn large_tensor(math: Math) -> Tile {
        let unit = Unit::Mma([64, 32], math);
        Tile { rows: 128, columns: 128, depth: 16, transfer: Transfer::CpAsync, unit }
    }

    /// Returns the number of threads per block.
    pub fn threads(self) -> u32 {
        match self.unit {
            Unit::Fma(side) => self.rows / side * (self.columns / side),
            Unit::Mma([rows, columns], _) => 32 * (self.rows / rows) * (self.columns / columns),
        }
    }

    /// Returns the arithmetic of the tensor cores; `None` for scalar threads.
    pub fn math(self) -> Option<Math> {
        match self.unit {
            Unit::Fma(_) => None,
            Unit::Mma(_, math) => Some(math),
        }
    }

    /// Returns the tile with a transfer that can copy operands of these types in memory, each with whether its elements can be taken
    /// 16 bytes at a time: asynchronous copies take no 2 bytes.
    pub fn copying(self, operands: &[(Storage, bool)]) -> Tile {
        let possible = operands.iter().all(|(storage, vectorised)| *storage == Storage::F32 || *vectorised);
        Tile { transfer: if possible { self.transfer } else { Transfer::Registers }, ..self }
    }

    /// Returns the tile's part of a kernel's name.
    pub fn name(self) -> String {
        let unit = match self.unit {
            Unit::Fma(_) => "",
            Unit::Mma(_, Math::Split) => "_3xtf32",
            Unit::Mma(_, Math::Tf32) => "_tf32",
            Unit::Mma(_, Math::Bf16) => "_bf16",
        };
        let transfer = match (self.transfer, self.unit) {
            (Transfer::Registers, Unit::Mma(..)) => "_staged",
            (Transfer::CpAsync, Unit::Fma(_)) => "_ring",
            _ => "",
        };
        format!("{}x{}x{}{unit}{transfer}", self.rows, self.columns, self.depth)
    }
}
