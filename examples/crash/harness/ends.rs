//! How operations end in a round: every way that a vendor has.

use drydock::simulators::{avisi, huawei, vsphere, zstack};

use super::dice::Dice;

/// Half of all operations end well, the others in any way there is.
///
/// Left out is what only the pace of these vendors makes possible: an upgrade that fails and leaves its target as it
/// was, within the minutes in which "untouched" proves that a start did not arrive. At a vendor it takes longer to
/// fail; here, a second. So no vSphere cluster gives up, and no direct upgrade at Avisi fails.
pub fn decide<T: Copy + Default>(dice: &mut Dice, of: &[T]) -> T {
    if dice.chance(50) { T::default() } else { dice.pick(of).unwrap_or_default() }
}

/// Ends of ZStack clusters. Here and below, what never ends, and what ends only when a person acts, is left out: it would
/// only make a round long.
pub const ZSTACK: [zstack::Outcome; 11] = [
    zstack::Outcome::OneHostFails,
    zstack::Outcome::AllHostsFail,
    zstack::Outcome::EmptyResult,
    zstack::Outcome::BareResult,
    zstack::Outcome::Fail,
    zstack::Outcome::FailSilently,
    zstack::Outcome::Suspend,
    zstack::Outcome::Cancel,
    zstack::Outcome::WaitFirst,
    zstack::Outcome::RefuseAtApi,
    zstack::Outcome::ApiTimesOut,
];
/// Ends of vSphere clusters.
pub const CLUSTER: [vsphere::Outcome; 5] = [
    vsphere::Outcome::Fail,
    vsphere::Outcome::Refuse,
    vsphere::Outcome::PrecheckError,
    vsphere::Outcome::PrecheckWarning,
    vsphere::Outcome::Overtake,
];
/// Ends of Supervisors.
pub const SUPERVISOR: [vsphere::Outcome; 8] = [
    vsphere::Outcome::Fail,
    vsphere::Outcome::FailInResult,
    vsphere::Outcome::Refuse,
    vsphere::Outcome::PrecheckError,
    vsphere::Outcome::PrecheckWarning,
    vsphere::Outcome::LatePrecheckError,
    vsphere::Outcome::LoseTask,
    vsphere::Outcome::Uncancelable,
];
/// Ends of Avisi clusters.
pub const AVISI: [avisi::Outcome; 3] =
    [avisi::Outcome::Fail, avisi::Outcome::Supersede, avisi::Outcome::Refuse];
/// Ends of Huawei instances.
pub const HUAWEI: [huawei::Outcome; 3] =
    [huawei::Outcome::Fail, huawei::Outcome::Terminate, huawei::Outcome::Vanish];
