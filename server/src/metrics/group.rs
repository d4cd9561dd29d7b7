//! Declares a struct of metrics together with their names.

/// `field: Type = constructor, "name", "help";` for each metric of the struct.
macro_rules! metric_group {
    ($(#[$doc:meta])* $vis:vis struct $group:ident {
        $($field:ident: $type:ty = $make:expr, $name:literal, $help:literal;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        $vis struct $group {
            $(
                #[doc = concat!("`", $name, "`: ", $help, ".")]
                $vis $field: $type,
            )*
        }

        impl Default for $group {
            /// Metrics that nobody shows.
            fn default() -> Self {
                Self { $($field: $make,)* }
            }
        }

        impl $group {
            pub(super) fn register(
                registry: &mut prometheus_client::registry::Registry,
            ) -> Self {
                let group = Self::default();
                $(registry.register($name, $help, group.$field.clone());)*
                group
            }
        }
    };
}

pub(super) use metric_group;
