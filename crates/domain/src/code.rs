//! Every problem code plugbay answers with: one table of name, title, kind and what to do.
//! Codes are part of the public interface: they are never renamed and never change their kind.

use std::fmt;

/// Who has to act on a failure. The HTTP layer and the command line each map it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be read.
    Invalid,
    /// The caller has not said who it is.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// What was asked for does not exist.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// The caller sent its request too slowly.
    TooSlow,
    /// The request does not fit the present state.
    Conflict,
    /// A precondition the caller named does not hold.
    PreconditionFailed,
    /// More bytes than are accepted.
    TooLarge,
    /// A media type or encoding that is not read.
    UnsupportedMedia,
    /// The request names a host that is not ours.
    Misdirected,
    /// Well-formed, read, and refused by a rule.
    Refused,
    /// The caller must name a precondition.
    PreconditionRequired,
    /// The caller has to slow down.
    RateLimited,
    /// Something plugbay needs is away; the caller may try again.
    Unavailable,
    /// Another server did not answer as it should.
    BadGateway,
    /// Another server did not answer in time.
    GatewayTimeout,
    /// The disk is full.
    StorageFull,
    /// A defect or fault inside plugbay.
    Internal,
}

/// One row of the table of codes.
struct Row {
    name: &'static str,
    kind: ErrorKind,
    title: &'static str,
    how: &'static str,
}

macro_rules! codes {
    ($($variant:ident $name:literal $kind:ident $title:literal $how:literal;)*) => {
        /// A stable problem code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row { name: $name, kind: ErrorKind::$kind, title: $title, how: $how },)*
                }
            }
        }
    };
}

codes! {
    // Reading the request.
    BadRequest "bad-request" Invalid "The request cannot be read" "compare the request with /docs";
    UnknownField "unknown-field" Invalid "The request has an unknown field" "remove the field, or correct its name; /docs lists the known ones";
    BodyTooLarge "body-too-large" TooLarge "The request body is too large" "send a smaller body";
    BodyTooSlow "body-too-slow" TooSlow "The request body arrived too slowly" "send it again over a faster connection";
    UnsupportedMediaType "unsupported-media-type" UnsupportedMedia "The media type is not accepted" "send the Content-Type that /docs names for this route, without Content-Encoding";
    HostRefused "host-refused" Misdirected "The Host header names another host" "call plugbay by a loopback name, or list the name in `server.allowed_hosts`";
    NotFound "not-found" NotFound "There is nothing at this address" "look up the address in /docs";
    MethodNotAllowed "method-not-allowed" MethodNotAllowed "The method is not allowed here" "use a method that the Allow header names";
    RateLimited "rate-limited" RateLimited "Too many requests" "wait as long as Retry-After says";
    IdempotencyMismatch "idempotency-mismatch" Refused "The Idempotency-Key was used for another request" "use a new key for a new request";
    IdempotencyBusy "idempotency-busy" Conflict "A request with this Idempotency-Key is still running" "wait for its answer, then ask again";

    // Who is asking.
    TokenMissing "token-missing" Unauthenticated "A token is needed" "send `Authorization: Bearer pbt_…`; the first token is in `admin.token` of the data directory";
    TokenInvalid "token-invalid" Unauthenticated "The token is not valid" "ask an administrator for a new one: plugbay token create --scopes read";
    ScopeMissing "scope-missing" Forbidden "The token lacks a scope" "use a token with that scope: plugbay token create --scopes …";
    TokenUnknown "token-unknown" NotFound "There is no such token" "plugbay token list";

    LastAdmin "last-admin" Conflict "The last administrator cannot be removed" "make another token with scope admin first";

    // The registry.
    PluginUnknown "plugin-unknown" NotFound "There is no such plugin" "plugbay list";
    PluginExists "plugin-exists" Conflict "The plugin is installed already" "use update, or install with --or-update";
    VersionConflict "version-conflict" Conflict "This version was installed with other bytes" "raise `version` in plugin.yaml and pack again; while you develop, plugbay serve --insecure-dev replaces it";
    DowngradeRefused "downgrade-refused" Conflict "A higher version has been served before" "install a higher version, or update with --allow-downgrade";
    UpdateRolledBack "update-rolled-back" Conflict "The new version does not work, and the one before serves" "mend the package by what it printed, and update again";
    VersionUnknown "version-unknown" NotFound "There is no such version to go back to" "plugbay show NAME lists the versions that are kept; `update.keep_versions` says how many";
    VersionServing "version-serving" Conflict "This version serves already" "name another version, or none for the one before";
    SnapshotMissing "snapshot-missing" Conflict "What that version kept is not there any more" "roll back without restoring data: what is kept now stays";
    DigestMismatch "digest-mismatch" Refused "The archive does not have the expected sha256" "check the file and the sha256 you were given";
    LimitsExceedCeiling "limits-exceed-ceiling" Refused "The plugin asks for more than the operator allows" "lower `resources` in plugin.yaml, or raise `sandbox.ceiling` in plugbay.yaml";
    NameReserved "name-reserved" Refused "The name is reserved" "choose another `name` in plugin.yaml";

    // Archives.
    PathTraversal "path-traversal" Refused "An entry leads out of the archive" "pack again with `plugbay pack`, or with tar from the plugin's parent folder";
    PathAbsolute "path-absolute" Refused "An entry has an absolute path" "pack again with `plugbay pack`, or with tar without -P";
    PathInvalid "path-invalid" Refused "An entry has a path that is not accepted" "rename the file; use `/` between folders, UTF-8 names, no control characters";
    PathCollision "path-collision" Refused "Two entries have the same name" "rename one; names that differ only in case or Unicode form count as the same";
    EntryKind "entry-kind" Refused "An entry is neither a file nor a folder" "replace links by copies (tar -h --hard-dereference) and leave out special and sparse files";
    EntryMode "entry-mode" Refused "An entry is setuid, setgid or sticky" "chmod u-s,g-s,-t the file and pack again";
    ArchiveMalformed "archive-malformed" Refused "The archive is damaged or malformed" "pack again with `plugbay pack`, GNU tar, bsdtar or Info-ZIP";
    ArchiveAmbiguous "archive-ambiguous" Refused "The archive can be read in two ways" "pack again with `plugbay pack`, Info-ZIP or 7-Zip, and change nothing afterwards";
    ArchiveUnsupported "archive-unsupported" Refused "The archive uses a format that is not accepted" "pack as .tar.gz, or as .zip with stored or deflated entries and without encryption";
    ArchiveTooLarge "archive-too-large" TooLarge "The archive exceeds a limit" "make the package smaller, or ask the operator to raise the limit under `limits` in plugbay.yaml";
    DependenciesNotVendored "dependencies-not-vendored" Refused "The plugin's dependencies are not in the archive" "plugbay pack DIR puts them into vendor/";
    SecretInPackage "secret-in-package" Refused "A secret key is among the files" "move the key out of the folder or list its file in .pluginignore; a test that needs a key generates it. A key that was published is to be replaced";

    // The manifest.
    ManifestMissing "manifest-missing" Refused "There is no plugin.yaml" "put plugin.yaml at the archive's root or into its single top folder, spelled exactly so";
    ManifestInvalid "manifest-invalid" Refused "plugin.yaml is not valid" "plugbay validate DIR shows every mistake";
    EntrypointMissing "entrypoint-missing" Refused "The entry point is not in the archive" "set `main` in plugin.yaml to a regular file of the package";
    RuntimeUnsupported "runtime-unsupported" Refused "The runtime is not supported" "use runtime python, exec or stdio";
    RuntimeMismatch "runtime-mismatch" Refused "The plugin needs another version of plugbay or of its interpreter" "upgrade plugbay, or relax `plugbay` or `python` in plugin.yaml";

    // Signatures and keys.
    SignatureMissing "signature-missing" Refused "The archive is not signed" "sign it: plugbay sign FILE --key NAME.key, and send the .minisig file along; to try it unsigned: plugbay serve --insecure-dev with `security.signatures: off`";
    SignatureUntrusted "signature-untrusted" Refused "The signing key is not trusted" "plugbay key add NAME.pub --label LABEL --names GLOB";
    SignatureInvalid "signature-invalid" Refused "The signature does not fit the archive" "fetch archive and .minisig file again; if both are whole, do not trust them";
    SignatureScope "signature-scope" Refused "The key may not sign plugins of this name" "register the key for this name: plugbay key add NAME.pub --label LABEL --names GLOB";
    KeyExpired "key-expired" Refused "The key is not valid at this time" "ask the author for an archive signed with a valid key";
    KeyRevoked "key-revoked" Refused "The key is revoked" "ask the author for an archive signed with another key";
    KeyWeak "key-weak" Refused "The key is weak" "make a new pair: plugbay keygen";
    KeyInvalid "key-invalid" Refused "The text is not a minisign public key" "paste the second line of NAME.pub; it begins with RW";
    SecretKeyInvalid "secret-key-invalid" Refused "The secret key cannot be used" "name the .key file that plugbay keygen or minisign -G wrote";
    KeyExists "key-exists" Conflict "A key with this id is registered" "plugbay key list";
    KeyUnknown "key-unknown" NotFound "There is no such key" "plugbay key list";
    PackageTampered "package-tampered" Conflict "Files of the package were changed after the install" "uninstall the plugin and install it again from its archive";

    // Running plugins.
    PluginNotEnabled "plugin-not-enabled" Conflict "The plugin is not enabled" "plugbay enable NAME";
    PluginQuarantined "plugin-quarantined" Conflict "The plugin is quarantined" "plugbay show NAME tells the reason; enable lifts a crash loop";
    RequiresMissing "requires-missing" Conflict "A required plugin is missing" "install and enable the plugin that is named";
    RequiresConflict "requires-conflict" Conflict "A plugin has a version that another one does not accept" "install versions whose `requires` fit each other";
    RequiresCycle "requires-cycle" Refused "Plugins require each other in a circle" "take one of the entries out of `requires` in plugin.yaml";
    DependentsRunning "dependents-running" Conflict "Enabled plugins require this one" "plugbay disable NAME --cascade disables them first";
    ScanRefused "scan-refused" Refused "The code of the package looks like an attack" "read what `plugbay scan FILE` shows, and take it up with the author";
    PermissionsPending "permissions-pending" Conflict "Permissions are not approved" "an administrator decides about each permission the plugin asks for";
    PermissionNotRequested "permission-not-requested" Refused "The plugin does not ask for this permission" "plugbay show NAME lists what it asks for";
    ScopeTooWide "scope-too-wide" Refused "The scope is wider than what the plugin asks for" "grant what plugbay show NAME lists, or less";
    RiskNotAccepted "risk-not-accepted" Refused "A risk has to be accepted by name" "plugbay approve NAME explains the risks; accept one with --accept-risk RISK";
    DigestChanged "digest-changed" Conflict "The archive is not the one that was looked at" "look at it again: plugbay approve NAME";
    ResourceUnknown "resource-unknown" Conflict "The operator has not named a resource that was granted" "name it under `resources` in plugbay.yaml and restart the service, or revoke the grant";
    QuotaExceeded "quota-exceeded" Refused "More than the plugin may keep" "delete some of it, or raise the limit";
    DatabaseUnknown "database-unknown" NotFound "The operator names no such database" "name it under `resources.databases` in plugbay.yaml, and restart the service";
    DatabaseRefused "database-refused" Refused "The database did not accept the statement" "correct what the text names";
    DatabaseLimit "database-limit" Refused "The statement needs more than it may take" "ask for less at once, or raise the setting that the text names";
    DatabaseTimeout "database-timeout" GatewayTimeout "The statement took too long" "ask for less at once, or raise `databases.seconds`";
    DatabaseLocked "database-locked" Unavailable "Another program holds the database locked" "try again; end the program that keeps it locked";
    DatabaseFailed "database-failed" Unavailable "The database could not be used" "the service's log says why";
    DataUnavailable "data-unavailable" Unavailable "The plugin's /data is not ready" "the service's log tells more; docs/operators.md says what /data needs";
    HardQuotaMissing "hard-quota-missing" Unavailable "There is no hard quota for /data" "run the service as root with e2fsprogs and loop devices, or unset `storage.require_hard_quota`";
    PluginStartFailed "plugin-start-failed" BadGateway "The plugin did not start" "mend what log_tail shows; plugbay test DIR tries it without a service";
    PluginCrashed "plugin-crashed" BadGateway "The plugin ended while it ran" "plugbay logs NAME shows what it printed";
    PluginOutOfMemory "plugin-out-of-memory" BadGateway "The plugin ran out of memory" "raise `resources.memory_mb` in plugin.yaml, or plugbay limits set NAME memory_mb=…";
    PluginProtocol "plugin-protocol" BadGateway "The plugin broke the protocol" "plugbay logs NAME tells the rule; the protocol is in docs/protocol.md";
    PluginUnresponsive "plugin-unresponsive" BadGateway "The plugin did not react" "end work soon after a call is cancelled, and answer health requests";
    PluginTimeout "plugin-timeout" GatewayTimeout "The plugin did not answer in time" "ask with a longer timeout_ms, or raise `resources.timeout_seconds` in plugin.yaml";
    PluginBusy "plugin-busy" Unavailable "The plugin has too many calls waiting" "wait as long as Retry-After says, or raise `resources.max_concurrency` in plugin.yaml";
    BreakerOpen "breaker-open" Unavailable "The plugin failed too often in a row" "wait as long as Retry-After says; plugbay logs NAME shows why it fails; plugbay enable NAME lets calls through at once";
    PluginRestarting "plugin-restarting" Unavailable "The plugin is being restarted" "wait as long as Retry-After says";
    PluginStopping "plugin-stopping" Unavailable "The plugin is being stopped" "enable it again";
    EngineUnavailable "engine-unavailable" Unavailable "Nothing that runs plugins answers" "start Docker: systemctl start docker; or install it: apt-get install docker.io; or set sandbox.engine: process";
    EngineTooOld "engine-too-old" Unavailable "The engine is too old, or lacks what a sandbox needs" "plugbay doctor tells what is missing; Docker Engine 20.10 or later has everything";
    IsolationTooWeak "isolation-too-weak" Conflict "The isolation is weaker than the operator allows" "use Docker, or lower `security.min_isolation` in plugbay.yaml";
    ImageMissing "image-missing" Unavailable "The image of the runtime is not there" "docker/python/build.sh";
    SandboxWeaker "sandbox-weaker-than-specified" BadGateway "The sandbox came out weaker than specified" "plugbay doctor shows what the engine cannot do; nothing was started";
    PayloadInvalid "payload-invalid" Refused "The payload is not accepted" "send JSON without duplicate keys, lone surrogates, numbers beyond 1e308, and not deeper than 64 levels";
    MethodNotOffered "method-not-offered" Refused "The plugin does not offer this method" "plugbay show NAME lists the methods";
    TimeoutTooLong "timeout-too-long" Refused "The timeout is longer than allowed" "ask for less, or raise `resources.timeout_seconds` in plugin.yaml";

    // Chat, and plugins that call each other.
    ConversationUnknown "conversation-unknown" NotFound "There is no such conversation" "GET /api/chat/conversations lists them; the least recently used ones are dropped";
    ConversationOutOfReach "conversation-out-of-reach" Refused "The plugin may not use this conversation" "use the conversation of the message, file or command that is being handled";
    ContentBlocked "content-blocked" Refused "A plugin refused what was said" "change what the reason names";
    ModelUnknown "model-unknown" NotFound "There is no such model" "GET /v1/models lists the models; plugbay list shows which backends run";
    ChatBusy "chat-busy" Unavailable "Too many exchanges go on at once" "wait as long as Retry-After says, or raise `chat.exchanges_at_once` and `chat.held_mb`";
    GuardUnavailable "guard-unavailable" Unavailable "A plugin that must look at every message could not" "plugbay show NAME tells why; without it nothing is answered";
    BackendFailed "backend-failed" BadGateway "The backend did not answer" "GET /api/chat/exchanges/{id} tells what happened; plugbay logs NAME shows what the backend says";
    BackendBusy "backend-busy" Unavailable "The backend has too much to do" "wait as long as Retry-After says";
    BackendRefused "backend-refused" Refused "The backend does not accept the request" "change what its message names";
    BackendTimeout "backend-timeout" GatewayTimeout "The backend did not answer in time" "try again, or raise `chat.first_token_seconds` and `chat.idle_seconds`";
    ExchangeUnknown "exchange-unknown" NotFound "There is no such exchange" "the last ones are kept, as many as `chat.exchanges` says, until the service stops";
    HookBlocked "hook-blocked" Conflict "A plugin refused the message" "change the message, or disable the plugin that refuses it";
    ToolNameTaken "tool-name-taken" Conflict "Models could not tell two tools apart" "plugbay disable the other plugin, or rename the tool in plugin.yaml";
    ToolArgumentsInvalid "tool-arguments-invalid" Refused "The arguments do not fit the tool" "send what the tool's schema in GET /api/tools asks for";
    CommandTaken "command-taken" Conflict "Another enabled plugin has the command" "plugbay disable the other plugin, or rename the command in plugin.yaml";
    CommandInvalid "command-invalid" Refused "The words of a command cannot be told apart" "close every quote, and write a backslash as \\\\";
    CallTooDeep "call-too-deep" Refused "Plugins call each other too deep" "let plugins call each other at most four deep";

    // Configuration of plugins.
    ConfigInvalid "config-invalid" Refused "The configuration is not valid" "correct the values that are named";
    ConfigIncomplete "config-incomplete" Conflict "Required configuration is missing" "plugbay config set NAME FIELD=VALUE";
    IfMatchRequired "if-match-required" PreconditionRequired "A change of the configuration has to name what it changes" "send the ETag of GET …/config as If-Match, or `*`";
    EtagMismatch "etag-mismatch" PreconditionFailed "The configuration was changed meanwhile" "read it again, then send the change with its new ETag";
    SecretUnreadable "secret-unreadable" Conflict "A stored secret cannot be opened" "set it again: plugbay config set NAME FIELD";

    // Install from a URL.
    UrlRefused "url-refused" Refused "The address is not allowed" "use https and a public host, or list the host in `install.allow_hosts`";
    DownloadFailed "download-failed" BadGateway "The download failed" "check the address and try again";
    DownloadTimeout "download-timeout" GatewayTimeout "The download took too long" "try again, or raise `install.timeout_seconds`";

    // The service itself.
    FieldInvalid "field-invalid" Refused "A value is not accepted" "correct the values that are named";
    AuditBroken "audit-broken" Conflict "The audit log was changed" "keep a copy of the data directory and compare with your backups";
    StorageFull "storage-full" StorageFull "The disk is full" "free space on the disk that holds the data directory; nothing was changed";
    DatabaseBusy "database-busy" Unavailable "The database is locked by another program" "end the program that holds plugbay.db open, then try again";
    DatabaseReadOnly "storage-read-only" Unavailable "The data directory cannot be written" "make the data directory writable for the service";
    DatabaseCorrupt "database-corrupt" Internal "The database is damaged" "stop the service and restore plugbay.db from a backup; it is never re-created by itself";
    SchemaNewer "schema-newer" Internal "The database was written by a newer plugbay" "start a plugbay of that version or newer";
    DataDirInUse "data-dir-in-use" Conflict "Another plugbay uses this data directory" "stop the other service, or choose another `server.data_dir`";
    BackupInvalid "backup-invalid" Refused "The backup cannot be restored" "take another backup; this one is damaged, cut off, or was changed";
    BackupUnsealed "backup-unsealed" Refused "The backup carries no seal" "take another backup with this version, or accept it with --accept-unsealed";
    BackupNewer "backup-newer" Refused "The backup was made by a later plugbay" "restore it with a plugbay of that version or newer";
    DataDirNotEmpty "data-dir-not-empty" Conflict "The directory is not empty" "restore into a directory that is empty or does not exist";
    Unavailable "unavailable" Unavailable "The service is stopping or overloaded" "try again as Retry-After says";
    Internal "internal" Internal "Something went wrong inside plugbay" "look for the request id in the service's log";
}

impl Code {
    /// The code as callers see it, such as `plugin-unknown`.
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// One line that says what happened.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// Who has to act.
    pub const fn kind(self) -> ErrorKind {
        self.row().kind
    }

    /// What to do about it; an error may say something more exact.
    pub const fn how(self) -> &'static str {
        self.row().how
    }

    /// Finds a code by the text callers see.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

impl super::Word for Code {
    const ALL: &'static [Self] = Self::ALL;

    fn as_str(self) -> &'static str {
        self.as_str()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Code {
    /// What an error of the file system means to a caller.
    pub fn of_file(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::StorageFull,
            std::io::ErrorKind::ReadOnlyFilesystem => Self::DatabaseReadOnly,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_its_own_kebab_case_name() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        }
    }

    #[test]
    fn find_returns_the_code_of_a_name() {
        assert_eq!(Code::find("plugin-unknown"), Some(Code::PluginUnknown));
        assert_eq!(Code::find("plugin unknown"), None);
    }
}
