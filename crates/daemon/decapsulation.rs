//! Which tunnels stay closed, by the names that the command line and the configuration share.

use tapline_config::Encapsulation;
use tapline_packet::DecodeOptions;

/// Has the decoder not look into these.
pub(crate) fn close(options: &mut DecodeOptions, kinds: &[Encapsulation]) {
    let open = &mut options.decapsulate;
    for kind in kinds {
        *match kind {
            Encapsulation::Ipip => &mut open.ipip,
            Encapsulation::Gre => &mut open.gre,
            Encapsulation::Erspan => &mut open.erspan,
            Encapsulation::Vxlan => &mut open.vxlan,
            Encapsulation::Geneve => &mut open.geneve,
            Encapsulation::Gtpu => &mut open.gtpu,
            Encapsulation::Teredo => &mut open.teredo,
        } = false;
    }
}
