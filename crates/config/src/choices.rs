//! Values of the configuration that are one of a few words.

use plugbay_domain::words;

words! {
    /// Which engine runs sandboxes.
    EngineChoice {
        /// The strongest one that answers.
        Auto = "auto",
        /// Containers of Docker.
        Docker = "docker",
        /// Processes under bubblewrap.
        Process = "process",
    }
}

words! {
    /// The least severe line that is written to the log.
    LogLevel {
        /// Someone must look.
        Error = "error",
        /// Degraded or refused.
        Warn = "warn",
        /// Lifecycle.
        Info = "info",
        /// Detail.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// How log lines are written.
    LogFormat {
        /// Text on a terminal, JSON otherwise.
        Auto = "auto",
        /// One JSON object per line.
        Json = "json",
        /// For people.
        Text = "text",
    }
}

words! {
    /// What is kept of what was said in the chat.
    ChatRecord {
        /// Nothing.
        None = "none",
        /// The texts, as long as the exchange is kept.
        Text = "text",
    }
}
