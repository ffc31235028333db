//! Convolution and its adjoint with respect to the data, as implicit matrix products: windows are never stored.
//!
//! A table, computed when the program is planned, holds for each depth (a channel and a tap) the offset of its channel and the
//! distance of the tap along each axis, so that no thread divides inside the loop. Groups run along z.

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::epilogue::{Broadcast, Epilogue, Writer};
use super::gemm::STORED_SECOND;
use super::storage::Storage;
use super::tile::{self, Depths, SecondProduct, SecondSums, Source, Tile};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

/// Words per table entry: offset of the channel in its group of the data, distance along three axes, offset of the weight in
/// its row (read by adjoints), padding.
pub const ENTRY: usize = 8;

params! {
    /// Parameters of [`Conv`]. There are always three spatial axes; missing ones have dimension 1.
    pub struct ConvParams {
        /// Address of the data: `x` of a convolution, `s` of an adjoint.
        data: u64,
        /// Address of the weights `[o, c/groups, …]`.
        weight: u64,
        /// Address of the result, one copy per slice of the depth.
        out: u64,
        /// Address of the table, [`ENTRY`] words per depth.
        table: u64,
        /// Addresses of the epilogue's operands. An operand per row has one element per channel of the result.
        epilogue: [u64; 4],
        /// Channels of the result per group.
        m: u32,
        /// Number of images times positions of the result.
        n: u32,
        /// Length of the sums: channels of the data per group, times taps.
        k: u32,
        /// Depth of a slice.
        slice: u32,
        /// Number of groups. Blocks along z run through the groups, one slice after another.
        groups: u32,
        /// Number of elements of the result.
        elements: u32,
        /// Stride between the weights of neighbouring rows, in elements.
        weight_row: u32,
        /// Number of weights per group.
        weight_group: u32,
        /// Elements of the data per image.
        data_image: u32,
        /// Elements of the data per group.
        data_group: u32,
        /// Positions of the result per channel.
        positions: u32,
        /// Channels of the result in all groups.
        channels: u32,
        /// Spatial dimensions of the data.
        data_dims: [u32; 3],
        /// Spatial dimensions of the result.
        out_dims: [u32; 3],
        /// Strides of the window.
        strides: [u32; 3],
        /// Padding before the first element of each axis.
        before: [u32; 3],
    }
}

/// Offset of the address to which a second product's sums are stored, with the layout of the result.
const SECOND: usize = offset_of!(ConvParams, epilogue) + 8 * STORED_SECOND;

/// Direction of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The convolution.
    Forward,
    /// The adjoint of a convolution with strides of 1.
    Adjoint,
    /// The adjoint of a convolution with any strides.
    AdjointStrided,
}

/// A variant of the convolution kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Convolution or adjoint.
    pub direction: Direction,
    /// Transforms of the weights and of the data.
    pub transforms: [Transform; 2],
    /// A second product of the same operands under other transforms.
    pub second: Option<SecondProduct>,
    /// The weights of 16 bytes can be loaded at a time: rows start at multiples of 16 bytes and are ordered by depth. Narrow weights
    /// fill all groups of a row.
    pub vectorised: bool,
    /// Type of the weights in memory.
    pub weights: Storage,
    /// Tile of a block; without one, each thread computes one element.
    pub tile: Option<Tile>,
    /// Elementwise expression that is applied to the result before it is stored.
    pub epilogue: Epilogue,
}

/// Threads per block of the variant without a tile.
pub const DIRECT: u32 = 128;

/// The weights of a group: the left matrix, with a row per channel of the result.
struct Weights {
    base: Reg,
    /// Offset of the group.
    start: Reg,
    /// Stride between neighbouring rows.
    row: Reg,
    /// Number of rows.
    rows: Reg,
    /// The table, if the weights of a row are not ordered by depth.
    table: Option<Reg>,
    vectorised: bool,
    storage: Storage,
    transform: Transform,
}

impl Source for Weights {
    fn depth_first(&self) -> bool {
        true
    }

    fn vectorised(&self) -> bool {
        self.vectorised
    }

    fn storage(&self) -> Storage {
        self.storage
    }

    fn transform(&self) -> Transform {
        self.transform
    }

    fn lanes(&self) -> Reg {
        self.rows
    }

    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg> {
        let (offset, exists) = (k.r(), k.p());
        op!(k, "mad.lo.u32 {offset}, {lane}, {}, {}", self.row, self.start);
        op!(k, "setp.lt.u32 {exists}, {lane}, {}", self.rows);
        vec![offset, exists]
    }

    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>) {
        let exists = tile::both_exist(k, lane[1], inside);
        let index = k.r();
        match self.table {
            None => op!(k, "add.u32 {index}, {}, {depth}", lane[0]),
            Some(table) => {
                let entry = k.address(table, depth, 4 * ENTRY as u32);
                match exists {
                    Some(p) => {
                        op!(k, "mov.u32 {index}, 0");
                        op!(k, "@{p} ld.global.u32 {index}, [{entry}+16]");
                    }
                    None => op!(k, "ld.global.u32 {index}, [{entry}+16]"),
                }
                op!(k, "add.u32 {index}, {index}, {}", lane[0]);
            }
        }
        (k.address(self.base, index, self.storage.bytes()), exists)
    }
}

/// The windows of a group's data: the right matrix, with a column per image and position of the result.
struct Windows {
    direction: Direction,
    transform: Transform,
    base: Reg,
    /// Offset of the group.
    start: Reg,
    table: Reg,
    /// Number of columns.
    columns: Reg,
    positions: Reg,
    /// Elements of the data per image.
    image: Reg,
    data_dims: Vec<Reg>,
    /// Dimensions of the result without the outermost.
    out_dims: Vec<Reg>,
    strides: Vec<Reg>,
    before: Vec<Reg>,
    /// Elements of the data per plane, the two innermost axes.
    plane: Reg,
}

impl Source for Windows {
    fn depth_first(&self) -> bool {
        false
    }

    fn vectorised(&self) -> bool {
        false
    }

    fn storage(&self) -> Storage {
        Storage::F32
    }

    fn transform(&self) -> Transform {
        self.transform
    }

    fn lanes(&self) -> Reg {
        self.columns
    }

    /// Offset, predicate that the column exists, and the window's first coordinate along each axis.
    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg> {
        let exists = k.p();
        op!(k, "setp.lt.u32 {exists}, {lane}, {}", self.columns);
        let (image, position) = k.div_rem(lane, self.positions);
        let coordinates = k.coordinates(position, &self.out_dims);
        let offset = k.offset(Some(self.start), &[image], &[self.image]);
        let mut registers = vec![offset, exists];
        for (axis, at) in coordinates.iter().enumerate() {
            let first = k.r();
            match self.direction {
                Direction::Forward => {
                    op!(k, "mul.lo.u32 {first}, {at}, {}", self.strides[axis]);
                    op!(k, "sub.u32 {first}, {first}, {}", self.before[axis]);
                }
                Direction::Adjoint | Direction::AdjointStrided => {
                    op!(k, "add.u32 {first}, {at}, {}", self.before[axis]);
                }
            }
            registers.push(first);
        }
        registers
    }

    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>) {
        let guard = tile::both_exist(k, lane[1], inside);
        let exists = guard.unwrap_or_else(|| k.p());
        let mut has_condition = guard.is_some();
        let entry = k.address(self.table, depth, 4 * ENTRY as u32);
        let words = [k.r(), k.r(), k.r(), k.r()];
        let [offset, z, y, x] = words;
        let load = format!("ld.global.v4.u32 {{{offset}, {z}, {y}, {x}}}, [{entry}]");
        match guard {
            Some(p) => {
                words.iter().for_each(|w| op!(k, "mov.u32 {w}, 0"));
                op!(k, "@{p} {load}");
            }
            None => op!(k, "{load}"),
        }
        // Without a guard the first condition sets `exists`; later ones narrow it.
        let mut require = |k: &mut Emitter, relation: &str, a: Reg, b: Reg| {
            if has_condition {
                op!(k, "setp.{relation}.and.u32 {exists}, {a}, {b}, {exists}");
            } else {
                op!(k, "setp.{relation}.u32 {exists}, {a}, {b}");
            }
            has_condition = true;
        };
        let mut at = vec![];
        for (axis, distance) in [z, y, x].into_iter().enumerate() {
            let place = k.r();
            let first = lane[2 + axis];
            match self.direction {
                Direction::Forward => op!(k, "add.u32 {place}, {first}, {distance}"),
                Direction::Adjoint => op!(k, "sub.u32 {place}, {first}, {distance}"),
                Direction::AdjointStrided => {
                    let (reach, back) = (k.r(), k.r());
                    op!(k, "sub.u32 {reach}, {first}, {distance}");
                    op!(k, "div.u32 {place}, {reach}, {}", self.strides[axis]);
                    op!(k, "mul.lo.u32 {back}, {place}, {}", self.strides[axis]);
                    require(k, "eq", back, reach);
                }
            }
            // As an unsigned number, a negative coordinate is too large.
            require(k, "lt", place, self.data_dims[axis]);
            at.push(place);
        }
        let index = k.r();
        op!(k, "add.u32 {index}, {offset}, {}", lane[0]);
        op!(k, "mad.lo.u32 {index}, {}, {}, {index}", at[0], self.plane);
        op!(k, "mad.lo.u32 {index}, {}, {}, {index}", at[1], self.data_dims[2]);
        op!(k, "add.u32 {index}, {index}, {}", at[2]);
        (k.address(self.base, index, 4), Some(exists))
    }
}

impl Conv {
    /// Returns the entry point's name, which determines the text.
    pub fn name(&self) -> String {
        let direction = match self.direction {
            Direction::Forward => "conv",
            Direction::Adjoint => "conv_adjoint",
            Direction::AdjointStrided => "conv_adjoint_strided",
        };
        let vector = if self.vectorised { format!("x{}", self.weights.group()) } else { String::new() };
        let storage = self.weights.name();
        let tile = self.tile.map_or("direct".into(), Tile::name);
        let [weights, data] = self.transforms.map(tile::transform_name);
        let second = self.second.map_or(String::new(), SecondProduct::name);
        format!("{direction}_{weights}{storage}{vector}_{data}{second}_{tile}{}", self.epilogue.name())
    }

    /// Returns the number of threads per block.
    pub fn threads(&self) -> u32 {
        self.tile.map_or(DIRECT, Tile::threads)
    }

    /// Returns the grid of a launch with these parameters.
    pub fn grid(&self, p: &ConvParams) -> [u32; 3] {
        let deep = p.groups * p.k.div_ceil(p.slice.max(1)).max(1);
        match self.tile {
            Some(tile) => [p.n.div_ceil(tile.columns), p.m.div_ceil(tile.rows), deep],
            None => [p.n.div_ceil(DIRECT), p.m, deep],
        }
    }

    /// Emits the kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let m = k.param_u32(offset_of!(ConvParams, m));
        let n = k.param_u32(offset_of!(ConvParams, n));
        let depth = k.param_u32(offset_of!(ConvParams, k));
        let slice_depth = k.param_u32(offset_of!(ConvParams, slice));
        let groups = k.param_u32(offset_of!(ConvParams, groups));
        let block = k.mov_u32("%ctaid.z");
        let (slice, group) = k.div_rem(block, groups);
        let depths = Depths::slice(k, slice, slice_depth, depth);
        let (weights, windows) = self.sources(k, group, (m, n));
        let positions = windows.positions;
        let channels = k.param_u32(offset_of!(ConvParams, channels));
        let elements = k.param_u32(offset_of!(ConvParams, elements));
        let (first_channel, first) = (k.r(), k.r());
        op!(k, "mul.lo.u32 {first_channel}, {group}, {m}");
        op!(k, "mul.lo.u32 {first}, {slice}, {elements}");
        let writer =
            Writer::new(k, &self.epilogue, offset_of!(ConvParams, out), offset_of!(ConvParams, epilogue));
        let second = match self.second.map(|second| second.sums) {
            Some(SecondSums::Stored(storage)) => Some((k.param_u64(SECOND), storage)),
            _ => None,
        };
        let channel = |k: &mut Emitter, row: Reg| {
            let (channel, exists) = (k.r(), k.p());
            op!(k, "add.u32 {channel}, {row}, {first_channel}");
            op!(k, "setp.lt.u32 {exists}, {row}, {m}");
            let operands = writer.load(k, Broadcast::Row, channel, exists);
            (channel, exists, operands)
        };
        let store = |k: &mut Emitter,
                     channel: Reg,
                     place: (Reg, Reg),
                     operands: &[Reg],
                     sums: &[Reg],
                     exists: Reg| {
            let (image, position) = place;
            let index = k.r();
            op!(k, "mad.lo.u32 {index}, {image}, {channels}, {channel}");
            op!(k, "mad.lo.u32 {index}, {index}, {positions}, {position}");
            op!(k, "add.u32 {index}, {index}, {first}");
            let mut sums = sums.to_vec();
            if let Some((base, storage)) = second
                && let Some(value) = sums.pop()
            {
                let address = k.address(base, index, storage.bytes());
                storage.store(k, address, value, Some(exists));
            }
            writer.store(k, &sums, (index, exists), [operands, &[]]);
        };
        match self.tile {
            Some(tile) => {
                let (row, column) = (k.r(), k.r());
                let (x, y) = (k.mov_u32("%ctaid.x"), k.mov_u32("%ctaid.y"));
                op!(k, "mul.lo.u32 {row}, {y}, {}", tile.rows);
                op!(k, "mul.lo.u32 {column}, {x}, {}", tile.columns);
                let sums =
                    tile::multiply(k, (tile, self.second), (&weights, &windows), (row, column), depths);
                let places: Vec<_> = sums.columns.iter().map(|c| k.div_rem(*c, positions)).collect();
                for (i, row) in sums.rows.iter().enumerate() {
                    let (channel, row_exists, operands) = channel(k, *row);
                    for (j, column) in sums.columns.iter().enumerate() {
                        let exists = k.p();
                        op!(k, "setp.lt.and.u32 {exists}, {column}, {n}, {row_exists}");
                        store(k, channel, places[j], &operands, &sums.at(i, j), exists);
                    }
                }
            }
            None => {
                let finished = k.label("DONE");
                let column = k.global_index(DIRECT);
                let row = k.mov_u32("%ctaid.y");
                k.branch_ge(column, n, &finished);
                let sum = tile::dot(k, (&weights, &windows), (row, column), depths);
                let place = k.div_rem(column, positions);
                let (channel, exists, operands) = channel(k, row);
                store(k, channel, place, &operands, &[sum], exists);
                k.place(&finished);
            }
        }
        emitter.finish(&self.name(), self.threads(), size_of::<ConvParams>()).of_variant(self.clone())
    }

    /// Loads both operands of a group's product.
    fn sources(&self, k: &mut Emitter, group: Reg, (m, n): (Reg, Reg)) -> (Weights, Windows) {
        let table = k.param_u64(offset_of!(ConvParams, table));
        let start = |k: &mut Emitter, offset: usize| {
            let (stride, r) = (k.param_u32(offset), k.r());
            op!(k, "mul.lo.u32 {r}, {group}, {stride}");
            r
        };
        let weights = Weights {
            base: k.param_u64(offset_of!(ConvParams, weight)),
            start: start(k, offset_of!(ConvParams, weight_group)),
            row: k.param_u32(offset_of!(ConvParams, weight_row)),
            rows: m,
            table: (self.direction != Direction::Forward).then_some(table),
            vectorised: self.vectorised,
            storage: self.weights,
            transform: self.transforms[0],
        };
        let data_dims = k.param_u32s(offset_of!(ConvParams, data_dims), 3);
        let plane = k.r();
        op!(k, "mul.lo.u32 {plane}, {}, {}", data_dims[1], data_dims[2]);
        let windows = Windows {
            direction: self.direction,
            transform: self.transforms[1],
            base: k.param_u64(offset_of!(ConvParams, data)),
            start: start(k, offset_of!(ConvParams, data_group)),
            table,
            columns: n,
            positions: k.param_u32(offset_of!(ConvParams, positions)),
            image: k.param_u32(offset_of!(ConvParams, data_image)),
            out_dims: k.param_inner_dims(offset_of!(ConvParams, out_dims), 3),
            strides: match self.direction {
                Direction::Adjoint => vec![],
                Direction::Forward | Direction::AdjointStrided => {
                    k.param_u32s(offset_of!(ConvParams, strides), 3)
                }
            },
            before: k.param_u32s(offset_of!(ConvParams, before), 3),
            data_dims,
            plane,
        };
        (weights, windows)
    }
}
