//! Values that are one of a few words.

use std::fmt;

/// A value that is one of a few words.
pub(crate) trait Choice: Copy + PartialEq + Sync + 'static {
    fn word(self) -> &'static str;
}

macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every choice, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the configuration.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl Choice for $name {
            fn word(self) -> &'static str {
                self.word()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    )+};
}

choices! {
    /// How capture handles share an interface (`PACKET_FANOUT`).
    Fanout {
        /// By the pair of IP addresses, whatever the direction: two hosts always meet at the same handle.
        HostPair = "host-pair",
        /// By the kernel's symmetric hash of addresses and ports.
        Hash = "hash",
        /// The same, but the kernel puts IPv4 fragments together first.
        HashDefragmented = "hash-defragmented",
    }

    /// Who stamps packets.
    Timestamp {
        /// The kernel.
        Host = "host",
        /// The network adapter, its clock kept with that of the host.
        Adapter = "adapter",
        /// The network adapter, by a clock of its own.
        AdapterUnsynced = "adapter-unsynced",
    }

    /// Encapsulations that can be taken off.
    Encapsulation {
        /// IP in IP.
        Ipip = "ipip",
        /// GRE, NVGRE, PPTP.
        Gre = "gre",
        /// ERSPAN, within GRE.
        Erspan = "erspan",
        /// VXLAN.
        Vxlan = "vxlan",
        /// GENEVE.
        Geneve = "geneve",
        /// GTP-U.
        Gtpu = "gtpu",
        /// Teredo.
        Teredo = "teredo",
    }

    /// What rows are written as.
    RowFormat {
        /// One JSON object a line.
        Ndjson = "ndjson",
        /// A header line, then one line a row.
        Csv = "csv",
        /// Apache Parquet, in builds that have it.
        Parquet = "parquet",
        /// They are not.
        None = "none",
    }

    /// What becomes of finished files of lines.
    Compress {
        /// They stay as they are.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// Zstandard.
        Zstd = "zstd",
    }

    /// How much the sensor says of itself; each level includes those before it.
    LogLevel {
        /// Something was lost, or somebody has to act.
        Error = "error",
        /// Unexpected, nothing lost.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
    }

    /// How log lines look.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}
