//! Notes on the sign of the starting relevance.

use dlbc_ops::program::{Info, Mode, SeedSign};
use dlbc_runtime::{SeedValue, Target};

use crate::cli::args::{RunArgs, Start};
use crate::cli::terminal::Console;
use dlbc::explained::Explained;
use dlbc::wording::{plural, visible};

/// Notes the tensor at which relevance starts if it is not the explained output, and the number of rows that start with 0.
pub fn note(info: &Info, explained: &[Explained], args: &RunArgs, console: Console) {
    let is_unit = *args.target.start() == Start::Units(SeedValue::One) && info.trees.is_none();
    if !is_unit || info.mode == Mode::Contrastive {
        return;
    }
    let differs = explained.iter().any(|e| matches!(e.target.target, Target::Difference(..)));
    let counts = match info.seed.sign {
        SeedSign::Value => true,
        SeedSign::Positive => differs,
        SeedSign::Unit => false,
    };
    if !counts {
        return;
    }
    if let Some(behind) = &info.seed.activation {
        console.note(format!(
            "relevance starts at the logits `{}` before the final {}: their values count, not those of `{}`",
            visible(&behind.tensor),
            visible(&behind.op),
            visible(&info.explained)
        ));
    }
    for e in explained {
        let seed = &e.explanation.seed;
        let rows =
            if args.target.positions_first { 1 } else { seed.dims().first().copied().unwrap_or(1).max(1) };
        let values = seed.to_f32();
        let empty = values.chunks((values.len() / rows).max(1)).filter(|row| row.iter().all(|v| *v == 0.0));
        let empty = empty.count();
        if empty > 0 {
            let rows = if rows > 1 { format!(" of {}", plural(empty, "row")) } else { String::new() };
            console.note(format!(
                "target {}: the value{rows} is exactly 0, so relevance starts with 0",
                visible(&e.target.name)
            ));
        }
    }
}
