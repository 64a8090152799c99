//! Names to addresses.

use std::fmt;
use std::io;
use std::net::IpAddr;

use futures_util::future::BoxFuture;

/// What knows the addresses of names.
pub trait Resolver: fmt::Debug + Send + Sync {
    /// Every address of a name, in the order they should be tried.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The machine's own way to resolve names.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            // With a dot at its end a name stands for itself, whatever search list the machine has; a name without dots
            // is one of the operator's own, which only that list may know.
            let looked_up = if name.contains('.') { format!("{name}.") } else { name.to_owned() };
            let found = tokio::net::lookup_host((looked_up.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    }
}
