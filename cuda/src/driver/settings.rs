//! Settings from the environment: launches one by one, and the limit of the watchdog.

use std::time::Duration;

use dlbc_ptx::DeviceError;

/// Seconds that the device may take without an answer when `DLBC_CUDA_TIMEOUT` is not set.
const TIMEOUT: u64 = 300;

/// Settings of the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `DLBC_CUDA_SYNC`: launches run one by one outside of a graph, and the host waits after each.
    pub(super) one_by_one: bool,
    /// `DLBC_CUDA_TIMEOUT`: longest wait for the device; `None` for no limit.
    pub(super) limit: Option<Duration>,
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable has a value of another form.
    pub(super) fn from_environment() -> Result<Settings, DeviceError> {
        let value = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
        Settings::parse(value("DLBC_CUDA_SYNC").as_deref(), value("DLBC_CUDA_TIMEOUT").as_deref())
    }

    fn parse(sync: Option<&str>, timeout: Option<&str>) -> Result<Settings, DeviceError> {
        let wrong = |name: &str, value: &str, expected: &str| {
            Err(DeviceError::Setting(format!("invalid {name}: expected {expected}, found {value:?}")))
        };
        let one_by_one = match sync {
            None | Some("" | "0") => false,
            Some("1") => true,
            Some(value) => return wrong("DLBC_CUDA_SYNC", value, "0 or 1"),
        };
        let seconds = match timeout {
            None | Some("") => TIMEOUT as f64,
            Some(value) => match value.parse::<f64>() {
                Ok(seconds) if (0.0..=1e9).contains(&seconds) => seconds,
                _ => return wrong("DLBC_CUDA_TIMEOUT", value, "seconds, 0 for no limit"),
            },
        };
        let limit = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
        Ok(Settings { one_by_one, limit })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_defaults_and_bounds() {
        let read = |sync, timeout| Settings::parse(sync, timeout);
        let default = Settings { one_by_one: false, limit: Some(Duration::from_secs(TIMEOUT)) };
        assert_eq!(read(None, None).unwrap(), default);
        assert_eq!(read(Some(""), Some("")).unwrap(), default);
        assert_eq!(read(Some("1"), Some("0")).unwrap(), Settings { one_by_one: true, limit: None });
        assert_eq!(read(Some("0"), Some("0.5")).unwrap().limit, Some(Duration::from_millis(500)));
        for (sync, timeout) in
            [("yes", "1"), ("2", "1"), ("0", "-1"), ("0", "NaN"), ("0", "1e10"), ("0", "soon")]
        {
            let error = read(Some(sync), Some(timeout)).unwrap_err().to_string();
            assert!(error.contains("expected"), "{error}");
        }
    }
}
