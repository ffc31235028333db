//! Probe.
use dlbc_compiler::*;
use dlbc_ops::prim::reference;
use dlbc_ops::tensor::*;
use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::NpzReader;
use std::collections::BTreeMap;

fn read(path: &std::path::Path) -> BTreeMap<String, Array> {
    let mut z = NpzReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut m = BTreeMap::new();
    for n in z.names().unwrap() {
        let k = n.trim_end_matches(".npy").to_string();
        if let Ok(a) = z.by_name::<OwnedRepr<f32>, IxDyn>(&n) {
            let a: ArrayD<f32> = a;
            m.insert(k, Array::F(a.mapv(f64::from)));
        } else if let Ok(a) = z.by_name::<OwnedRepr<i64>, IxDyn>(&n) {
            m.insert(k, Array::I(a));
        } else if let Ok(a) = z.by_name::<OwnedRepr<i32>, IxDyn>(&n) {
            m.insert(k, Array::I(a.mapv(i64::from)));
        } else {
            eprintln!("dtype of {n}?");
        }
    }
    m
}

#[test]
fn probe() {
    let list = std::env::var("LIST").unwrap_or_default();
    for line in list.lines() {
        let mut it = line.split_whitespace();
        let (m, i, o, rules) =
            (it.next().unwrap(), it.next().unwrap(), it.next().unwrap(), it.next().unwrap_or("dlb"));
        let model = match dlbc_proto::read_model(m.as_ref(), &Default::default()) {
            Ok(m) => m,
            Err(e) => {
                println!("{m}: READ {e}");
                continue;
            }
        };
        let c = match compile(&model, &Options { rules: rules.into(), ..Options::default() }) {
            Ok(c) => c,
            Err(e) => {
                println!("{m}: COMPILE {e}");
                continue;
            }
        };
        if std::env::var("SHOW").is_ok() {
            println!("{}\n{}", c.model, c.relevance);
        }
        let inputs = read(i.as_ref());
        let mut b = Bindings::new();
        for info in &c.program.info.inputs {
            for (d, v) in info.ty.shape.0.iter().zip(inputs[&info.name].dims()) {
                d.symbols(&mut |s| {
                    b.insert(s.clone(), *v as i64);
                });
            }
        }
        let g = c.program.graph.bind(&b);
        if let Err(f) = g.check() {
            println!("{m}: BIND {:?}", &f[..f.len().min(3)]);
            continue;
        }
        let outs: Vec<String> = c.program.info.outputs.iter().map(|o| format!("output/{o}")).collect();
        let names: Vec<&str> = outs.iter().map(|s| s.as_str()).collect();
        let y = match reference::run(&g, &inputs, &names) {
            Ok(y) => y,
            Err(e) => {
                println!("{m}: RUN {e}");
                continue;
            }
        };
        let want = if std::path::Path::new(o).exists() { read(o.as_ref()) } else { BTreeMap::new() };
        let mut gap = 0.0f64;
        for (k, v) in &y {
            let n = k.trim_start_matches("output/");
            if let (Array::F(a), Some(Array::F(w))) = (v, want.get(n)) {
                if a.shape() != w.shape() {
                    println!("{m}: SHAPE {:?} {:?}", a.shape(), w.shape());
                    continue;
                }
                gap = gap.max((a - w).mapv(f64::abs).sum() / w.mapv(f64::abs).sum());
            }
        }
        // seed: argmax rows
        let Array::F(e) = &y[&format!("output/{}", c.program.info.explained)] else {
            println!("{m}: no float out");
            continue;
        };
        let mut seed = ArrayD::zeros(e.raw_dim());
        let n = *e.shape().last().unwrap_or(&1);
        let flat: Vec<f64> = e.iter().copied().collect();
        for (r, row) in flat.chunks(n).enumerate() {
            let k = (0..n).fold(0, |b, i| if row[i] > row[b] { i } else { b });
            seed.as_slice_mut().unwrap()[r * n + k] = 100.0;
        }
        let total = seed.sum();
        let mut ins = inputs.clone();
        ins.insert("dlbc_seed".into(), Array::F(seed));
        let all: Vec<&str> = c.program.graph.outputs().iter().map(|(n, _)| n.as_str()).collect();
        let r = match reference::run(&g, &ins, &all) {
            Ok(y) => y,
            Err(e) => {
                println!("{m}: REV {e}");
                continue;
            }
        };
        let sc = |n: &str| match &r[n] {
            Array::F(a) => a.sum(),
            _ => f64::NAN,
        };
        let mut absorbed = 0.0;
        let mut worst = 0.0f64;
        for k in 0..c.program.info.audit.len() {
            let (i, o, a) = (
                sc(&format!("audit/{k}/in")),
                sc(&format!("audit/{k}/out")),
                sc(&format!("audit/{k}/absorbed")),
            );
            absorbed += a;
            let e = (i - o - a).abs() / total.abs().max(1e-30);
            if e > worst {
                worst = e;
                if e > 1e-4 {
                    println!("   row {:?} {i} {o} {a}", c.program.info.audit[k]);
                }
            }
        }
        let mut sum = 0.0;
        let mut neg = 0.0f64;
        let mut gold = String::new();
        for info in c.program.info.inputs.iter().filter(|i| i.explained) {
            let Array::F(a) = &r[&format!("relevance/{}", info.name)] else { continue };
            sum += a.sum();
            neg = neg.min(a.iter().copied().fold(0.0, f64::min));
            if let Some(Array::F(w)) = want.get(&format!("R:{}", info.name)) {
                if w.shape() == a.shape() {
                    gold += &format!(" gold {:.2e}", (a - w).mapv(f64::abs).sum() / w.mapv(f64::abs).sum());
                } else {
                    gold += &format!(" goldshape {:?} {:?}", a.shape(), w.shape());
                }
            }
        }
        println!(
            "{m}: fwd {gap:.1e} start {total:.1} in {sum:.3} abs {absorbed:.3} close {:.1e} row {worst:.1e} neg {neg:.1e} nodes {} prims {}{gold}",
            (total - sum - absorbed).abs() / total.abs(),
            c.model.len(),
            c.program.graph.len()
        );
    }
}
