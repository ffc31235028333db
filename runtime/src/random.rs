//! Reproducible random numbers.

/// A stream of random numbers by SplitMix64 \[steele2014\], which a few lines in any language reproduce.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// Increment of the state, the odd integer closest to 2⁶⁴ / φ.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Output function of SplitMix64.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// Creates stream number `stream` of a seed, whose initial state is `mix(seed + γ) + mix(stream + 2γ)`.
    pub fn new(seed: u64, stream: u64) -> Random {
        let (a, b) = (mix(seed.wrapping_add(GAMMA)), mix(stream.wrapping_add(GAMMA.wrapping_mul(2))));
        Random(a.wrapping_add(b))
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Returns a number that is uniform in [0, 1), from the 53 upper bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns an integer that is uniform in `0..n`, the upper half of the product of 64 bits and `n`; 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Returns a number from the standard normal distribution, by the Box-Muller transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Returns `count` distinct integers below `n`, by the first steps of a shuffle of `0..n`; all `n` of them if `count` is
    /// larger.
    pub fn choose(&mut self, n: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        let count = count.min(n);
        for i in 0..count {
            let j = i + self.below(n - i);
            all.swap(i, j);
        }
        all.truncate(count);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_splitmix64() {
        // The first numbers of its published implementation from the state 1234567.
        let mut random = Random(1_234_567);
        let bits: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        assert_eq!(bits, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::new(7, 0);
        let n = 20_000;
        let units: Vec<f64> = (0..n).map(|_| random.unit()).collect();
        let normals: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let square = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>() / v.len() as f64;
        assert!((mean(&units) - 0.5).abs() < 0.01 && (square(&units) - 1.0 / 3.0).abs() < 0.01);
        assert!(mean(&normals).abs() < 0.03 && (square(&normals) - 1.0).abs() < 0.03);
    }

    #[test]
    fn choices_are_different_and_of_the_seed() {
        let chosen = Random::new(3, 1).choose(10, 4);
        let mut sorted = chosen.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!((sorted.len(), chosen.clone()), (4, Random::new(3, 1).choose(10, 4)));
        assert_ne!(chosen, Random::new(3, 2).choose(10, 4));
        let mut all = Random::new(0, 0).choose(5, 9);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4]);
    }
}
