//! Convolution and its adjoint in the data, as implicit products: windows are never stored.
//!
//! A table made at plan time says for each depth (channel and tap) where its channel begins and how far the tap lies along
//! each axis, so that no thread divides inside the loop. Groups are blocks along z.

use std::mem::offset_of;

use dlbc_ops::prim::Transform;

use super::epilogue::{Epilogue, Reach, Writer};
use super::tile::{self, Depths, Second, Source, Tile};
use crate::device::Kernel;
use crate::emit::{Emitter, Reg};
use crate::{op, params};

/// Words of a table's entry: the offset of the channel in its group of the data, the distance along three axes, the offset of the weight in
/// its row (the adjoint's), and padding.
pub const ENTRY: usize = 8;

params! {
    /// Parameters of a convolution or of its adjoint. There are three spatial axes; those that do not exist have dimension 1.
    pub struct ConvParams {
        /// What is read: `x`, or `s` of the adjoint.
        data: u64,
        /// Weights `[o, c/groups, …]`.
        weight: u64,
        /// The result, of each slice of the depth one after another.
        out: u64,
        /// The table, `ENTRY` words for each depth.
        table: u64,
        /// Operands of what follows; those of a row have an element for each channel of the result.
        then: [u64; 4],
        /// Channels of the result in a group.
        m: u32,
        /// Images times positions of the result.
        n: u32,
        /// Depth: channels of the data in a group, times taps.
        k: u32,
        /// Depth of a slice.
        slice: u32,
        /// Groups. Blocks along z count these for one slice after another.
        groups: u32,
        /// Elements of the result.
        elements: u32,
        /// Elements from a row of weights to the next.
        weight_row: u32,
        /// Elements of the weights of a group.
        weight_group: u32,
        /// Elements of an image of the data.
        data_image: u32,
        /// Elements of a group of the data.
        data_group: u32,
        /// Positions of the result.
        positions: u32,
        /// Channels of the result in all groups.
        channels: u32,
        /// Dimensions of the data.
        from: [u32; 3],
        /// Dimensions of the result.
        to: [u32; 3],
        /// Strides.
        strides: [u32; 3],
        /// Pads before.
        before: [u32; 3],
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// The convolution.
    Forward,
    /// Its adjoint, strides 1.
    Adjoint,
    /// Its adjoint with strides.
    AdjointStrided,
}

/// A variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Conv {
    /// Which way.
    pub way: Way,
    /// The parts of the weights and of the data.
    pub parts: [Transform; 2],
    /// A product of other parts of them.
    pub second: Option<Second>,
    /// Whether rows of weights begin at multiples of 16 bytes and lie in the order of depth, so that four can be copied at once.
    pub wide: bool,
    /// A block's tile; an element a thread when `None`.
    pub tile: Option<Tile>,
    /// What follows.
    pub then: Epilogue,
}

/// Threads of the variant without a tile.
pub const DIRECT: u32 = 128;

struct Weights {
    base: Reg,
    start: Reg,
    row: Reg,
    rows: Reg,
    /// The table, when the weights of a row do not lie in the order of depth.
    table: Option<Reg>,
    wide: bool,
    part: Transform,
}

impl Source for Weights {
    fn depth_first(&self) -> bool {
        true
    }

    fn wide(&self) -> bool {
        self.wide
    }

    fn part(&self) -> Transform {
        self.part
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
        let exists = tile::both(k, lane[1], inside);
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
        (k.address(self.base, index, 4), exists)
    }
}

struct Windows {
    way: Way,
    part: Transform,
    base: Reg,
    /// Offset of the group.
    start: Reg,
    table: Reg,
    columns: Reg,
    positions: Reg,
    image: Reg,
    from: Vec<Reg>,
    /// Dimensions of the result without the outermost.
    to: Vec<Reg>,
    strides: Vec<Reg>,
    before: Vec<Reg>,
    /// Elements of a plane and of a line of the data.
    plane: Reg,
}

impl Source for Windows {
    fn depth_first(&self) -> bool {
        false
    }

    fn wide(&self) -> bool {
        false
    }

    fn part(&self) -> Transform {
        self.part
    }

    fn lanes(&self) -> Reg {
        self.columns
    }

    /// Offset, whether the column exists, and the window's first coordinates.
    fn lane(&self, k: &mut Emitter, lane: Reg) -> Vec<Reg> {
        let exists = k.p();
        op!(k, "setp.lt.u32 {exists}, {lane}, {}", self.columns);
        let (image, position) = k.div_rem(lane, self.positions);
        let place = k.coordinates(position, &self.to);
        let offset = k.offset(Some(self.start), &[image], &[self.image]);
        let mut found = vec![offset, exists];
        for (axis, at) in place.iter().enumerate() {
            let first = k.r();
            match self.way {
                Way::Forward => {
                    op!(k, "mul.lo.u32 {first}, {at}, {}", self.strides[axis]);
                    op!(k, "sub.u32 {first}, {first}, {}", self.before[axis]);
                }
                Way::Adjoint | Way::AdjointStrided => {
                    op!(k, "add.u32 {first}, {at}, {}", self.before[axis]);
                }
            }
            found.push(first);
        }
        found
    }

    fn address(&self, k: &mut Emitter, lane: &[Reg], depth: Reg, inside: Option<Reg>) -> (Reg, Option<Reg>) {
        let known = tile::both(k, lane[1], inside);
        let exists = known.unwrap_or_else(|| k.p());
        let mut joined = known.is_some();
        let entry = k.address(self.table, depth, 4 * ENTRY as u32);
        let words = [k.r(), k.r(), k.r(), k.r()];
        let [offset, z, y, x] = words;
        let load = format!("ld.global.v4.u32 {{{offset}, {z}, {y}, {x}}}, [{entry}]");
        match known {
            Some(p) => {
                words.iter().for_each(|w| op!(k, "mov.u32 {w}, 0"));
                op!(k, "@{p} {load}");
            }
            None => op!(k, "{load}"),
        }
        // The first condition stands alone where nothing is in doubt.
        let mut require = |k: &mut Emitter, relation: &str, a: Reg, b: Reg| {
            if joined {
                op!(k, "setp.{relation}.and.u32 {exists}, {a}, {b}, {exists}");
            } else {
                op!(k, "setp.{relation}.u32 {exists}, {a}, {b}");
            }
            joined = true;
        };
        let mut at = vec![];
        for (axis, distance) in [z, y, x].into_iter().enumerate() {
            let place = k.r();
            let first = lane[2 + axis];
            match self.way {
                Way::Forward => op!(k, "add.u32 {place}, {first}, {distance}"),
                Way::Adjoint => op!(k, "sub.u32 {place}, {first}, {distance}"),
                Way::AdjointStrided => {
                    let (reach, back) = (k.r(), k.r());
                    op!(k, "sub.u32 {reach}, {first}, {distance}");
                    op!(k, "div.u32 {place}, {reach}, {}", self.strides[axis]);
                    op!(k, "mul.lo.u32 {back}, {place}, {}", self.strides[axis]);
                    require(k, "eq", back, reach);
                }
            }
            // A coordinate below 0 is a large one without a sign.
            require(k, "lt", place, self.from[axis]);
            at.push(place);
        }
        let index = k.r();
        op!(k, "add.u32 {index}, {offset}, {}", lane[0]);
        op!(k, "mad.lo.u32 {index}, {}, {}, {index}", at[0], self.plane);
        op!(k, "mad.lo.u32 {index}, {}, {}, {index}", at[1], self.from[2]);
        op!(k, "add.u32 {index}, {index}, {}", at[2]);
        (k.address(self.base, index, 4), Some(exists))
    }
}

impl Conv {
    /// A name that says all that the text depends on.
    pub fn name(&self) -> String {
        let way = match self.way {
            Way::Forward => "conv",
            Way::Adjoint => "conv_adjoint",
            Way::AdjointStrided => "conv_adjoint_strided",
        };
        let wide = if self.wide { "x4" } else { "" };
        let tile = self.tile.map_or("direct".into(), Tile::name);
        let [weights, data] = self.parts.map(tile::part_name);
        let second = self.second.map_or(String::new(), Second::name);
        format!("{way}_{weights}{wide}_{data}{second}_{tile}{}", self.then.name())
    }

    /// Threads of a block.
    pub fn threads(&self) -> u32 {
        self.tile.map_or(DIRECT, Tile::threads)
    }

    /// Blocks of a launch with these parameters.
    pub fn grid(&self, p: &ConvParams) -> [u32; 3] {
        let deep = p.groups * p.k.div_ceil(p.slice.max(1)).max(1);
        match self.tile {
            Some(tile) => [p.n.div_ceil(tile.columns), p.m.div_ceil(tile.rows), deep],
            None => [p.n.div_ceil(DIRECT), p.m, deep],
        }
    }

    /// The kernel.
    pub fn emit(&self) -> Kernel {
        let mut emitter = Emitter::new();
        let k = &mut emitter;
        let m = k.param_u32(offset_of!(ConvParams, m));
        let n = k.param_u32(offset_of!(ConvParams, n));
        let depth = k.param_u32(offset_of!(ConvParams, k));
        let each = k.param_u32(offset_of!(ConvParams, slice));
        let groups = k.param_u32(offset_of!(ConvParams, groups));
        let block = k.mov_u32("%ctaid.z");
        let (slice, group) = k.div_rem(block, groups);
        let depths = Depths::slice(k, slice, each, depth);
        let (weights, windows) = self.sources(k, group, (m, n));
        let positions = windows.positions;
        let channels = k.param_u32(offset_of!(ConvParams, channels));
        let elements = k.param_u32(offset_of!(ConvParams, elements));
        let (first_channel, first) = (k.r(), k.r());
        op!(k, "mul.lo.u32 {first_channel}, {group}, {m}");
        op!(k, "mul.lo.u32 {first}, {slice}, {elements}");
        let writer = Writer::new(k, &self.then, offset_of!(ConvParams, out), offset_of!(ConvParams, then));
        let channel = |k: &mut Emitter, row: Reg| {
            let (channel, exists) = (k.r(), k.p());
            op!(k, "add.u32 {channel}, {row}, {first_channel}");
            op!(k, "setp.lt.u32 {exists}, {row}, {m}");
            let own = writer.along(k, Reach::Row, channel, exists);
            (channel, exists, own)
        };
        let store =
            |k: &mut Emitter, channel: Reg, place: (Reg, Reg), own: &[Reg], sums: &[Reg], exists: Reg| {
                let (image, position) = place;
                let index = k.r();
                op!(k, "mad.lo.u32 {index}, {image}, {channels}, {channel}");
                op!(k, "mad.lo.u32 {index}, {index}, {positions}, {position}");
                op!(k, "add.u32 {index}, {index}, {first}");
                writer.put(k, sums, (index, exists), [own, &[]]);
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
                    let (channel, known, own) = channel(k, *row);
                    for (j, column) in sums.columns.iter().enumerate() {
                        let exists = k.p();
                        op!(k, "setp.lt.and.u32 {exists}, {column}, {n}, {known}");
                        store(k, channel, places[j], &own, &sums.at(i, j), exists);
                    }
                }
            }
            None => {
                let done = k.label("DONE");
                let column = k.global_index(DIRECT);
                let row = k.mov_u32("%ctaid.y");
                k.branch_ge(column, n, &done);
                let sum = tile::dot(k, (&weights, &windows), (row, column), depths);
                let place = k.div_rem(column, positions);
                let (channel, exists, own) = channel(k, row);
                store(k, channel, place, &own, &[sum], exists);
                k.place(&done);
            }
        }
        emitter.finish(&self.name(), self.threads(), size_of::<ConvParams>())
    }

    /// Both operands of a group's product.
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
            table: (self.way != Way::Forward).then_some(table),
            wide: self.wide,
            part: self.parts[0],
        };
        let from = k.param_u32s(offset_of!(ConvParams, from), 3);
        let plane = k.r();
        op!(k, "mul.lo.u32 {plane}, {}, {}", from[1], from[2]);
        let windows = Windows {
            way: self.way,
            part: self.parts[1],
            base: k.param_u64(offset_of!(ConvParams, data)),
            start: start(k, offset_of!(ConvParams, data_group)),
            table,
            columns: n,
            positions: k.param_u32(offset_of!(ConvParams, positions)),
            image: k.param_u32(offset_of!(ConvParams, data_image)),
            to: k.param_inner(offset_of!(ConvParams, to), 3),
            strides: match self.way {
                Way::Adjoint => vec![],
                Way::Forward | Way::AdjointStrided => k.param_u32s(offset_of!(ConvParams, strides), 3),
            },
            before: k.param_u32s(offset_of!(ConvParams, before), 3),
            from,
            plane,
        };
        (weights, windows)
    }
}
