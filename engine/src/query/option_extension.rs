//! What a statement carries to the functions it calls.
//!
//! DataFusion hands a function the `ConfigOptions` of its statement and nothing else. What our
//! functions need to know stands among the extensions of those options, which DataFusion takes for
//! groups of settings: groups without entries, that nobody can set.

/// Makes a `Clone` type an extension of `ConfigOptions` under a prefix of its own.
macro_rules! option_extension {
    ($type:ty, $prefix:literal) => {
        impl datafusion::common::config::ConfigExtension for $type {
            const PREFIX: &'static str = $prefix;
        }

        impl datafusion::common::config::ExtensionOptions for $type {
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn as_any_mut(&mut self) -> &mut dyn std::any::Any {
                self
            }

            fn cloned(&self) -> Box<dyn datafusion::common::config::ExtensionOptions> {
                Box::new(self.clone())
            }

            fn set(&mut self, key: &str, _: &str) -> datafusion::error::Result<()> {
                Err(datafusion::error::DataFusionError::Configuration(format!(
                    "{key} is not for setting"
                )))
            }

            fn entries(&self) -> Vec<datafusion::common::config::ConfigEntry> {
                Vec::new()
            }
        }
    };
}

pub(crate) use option_extension;
