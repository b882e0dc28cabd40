//! The three ranges that all ports are divided into (RFC 6335, section 6), and what they mean to whoever opens a port.

/// Where a port lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortRange {
    /// 0 to 1023.
    System,
    /// 1024 to 49151.
    Registered,
    /// 49152 to 65535.
    Dynamic,
}

impl PortRange {
    /// The range of a port.
    pub fn of(port: u16) -> Self {
        match port {
            0..=1023 => Self::System,
            1024..=49151 => Self::Registered,
            49152..=65535 => Self::Dynamic,
        }
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Registered => "registered",
            Self::Dynamic => "dynamic",
        }
    }

    /// The lowest and the highest of its ports.
    pub fn bounds(self) -> (u16, u16) {
        match self {
            Self::System => (0, 1023),
            Self::Registered => (1024, 49151),
            Self::Dynamic => (49152, 65535),
        }
    }

    /// What it means to whoever wants to use such a port.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::System => "IANA assigns these, and most systems let only a privileged program listen there",
            Self::Registered => "IANA assigns these on request, and any program may listen there",
            Self::Dynamic => "never assigned: for private use, and for the near end of connections",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_lies_in_the_range_whose_bounds_hold_it() {
        for port in 0..=u16::MAX {
            let (first, last) = PortRange::of(port).bounds();
            assert!((first..=last).contains(&port), "{port}");
        }
        let ends = [(1023, "system"), (1024, "registered"), (49151, "registered"), (49152, "dynamic")];
        for (port, name) in ends {
            assert_eq!(PortRange::of(port).name(), name);
        }
    }
}
