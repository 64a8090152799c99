//! Decisions about permissions: the unit that is decided on, what a manifest asks for in these units, how far the
//! decisions cover it ([`Standing`]), and what follows for a plugin that runs ([`Grants`]).

mod grants;
mod risk;
mod standing;
#[cfg(test)]
mod tests;
mod unit;

pub use grants::{Access, FolderAccess, Grants, Named, NetworkGrant};
pub use risk::{Egress, Reach, Risk, UnknownRisk, leaks};
pub use standing::{Asked, Decision, Standing};
pub use unit::{PermissionUnit, UnitError};
