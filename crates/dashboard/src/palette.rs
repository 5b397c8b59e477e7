//! Every colour of the screen, by what it says.

use ratatui::style::{Color, Modifier, Style};

/// Which colours the terminal is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColourMode {
    /// The sixteen of the terminal's own palette.
    #[default]
    Sixteen,
    /// None; bold and dim remain.
    Plain,
}

impl ColourMode {
    /// The mode that the environment variable `NO_COLOR` asks for: plain if it is set and not empty.
    ///
    /// Source: <https://no-color.org>.
    pub fn for_no_color(value: Option<&std::ffi::OsStr>) -> Self {
        if value.is_some_and(|value| !value.is_empty()) { ColourMode::Plain } else { ColourMode::Sixteen }
    }

    pub(crate) fn style(self, role: Role) -> Style {
        let (colour, modifier) = role.look();
        let style = Style::new().add_modifier(modifier);
        match (self, colour) {
            (ColourMode::Sixteen, Some(colour)) => style.fg(colour),
            _ => style,
        }
    }
}

/// What a piece of the screen says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A value.
    Plain,
    /// A value to be seen first.
    Strong,
    /// A label, a frame, a unit.
    Faint,
    /// Requests sent, and in flight.
    Sent,
    /// Requests done.
    Done,
    /// Prefill tokens.
    Prefill,
    /// Decode tokens.
    Decode,
    /// As asked for.
    Good,
    /// Not as asked for, without being a failure.
    Odd,
    /// A failure.
    Bad,
}

impl Role {
    /// Dim instead of dark grey: some palettes give dark grey the colour of the background.
    fn look(self) -> (Option<Color>, Modifier) {
        match self {
            Role::Plain => (None, Modifier::empty()),
            Role::Strong => (None, Modifier::BOLD),
            Role::Faint => (None, Modifier::DIM),
            // Four colours for the four bars, which stand close together.
            Role::Sent => (Some(Color::Cyan), Modifier::empty()),
            Role::Done | Role::Good => (Some(Color::Green), Modifier::empty()),
            Role::Prefill => (Some(Color::Blue), Modifier::empty()),
            Role::Decode => (Some(Color::Magenta), Modifier::empty()),
            Role::Odd => (Some(Color::Yellow), Modifier::empty()),
            Role::Bad => (Some(Color::Red), Modifier::BOLD),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_counts_when_set_and_not_empty() {
        let of = |value: Option<&str>| ColourMode::for_no_color(value.map(std::ffi::OsStr::new));
        assert_eq!(
            [of(None), of(Some("")), of(Some("1"))],
            [ColourMode::Sixteen, ColourMode::Sixteen, ColourMode::Plain]
        );
    }
}
