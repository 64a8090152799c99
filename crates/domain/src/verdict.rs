//! How bad a package looks to who reads its code.

use crate::words;

words! {
    /// What a package looks like, from the least to the worst.
    #[derive(Default)]
    Verdict {
        /// Nothing was found.
        #[default]
        Clean = "clean",
        /// Something is worth a look.
        Notes = "notes",
        /// A person has to look at it.
        Suspicious = "suspicious",
        /// Two stages of an attack stand together.
        Malicious = "malicious",
    }
}

words! {
    /// What an operator does about a verdict.
    VerdictPolicy {
        /// It is told, and no more.
        Warn = "warn",
        /// An administrator accepts it by name before the plugin runs.
        Confirm = "confirm",
        /// The package is not installed.
        Refuse = "refuse",
    }
}
