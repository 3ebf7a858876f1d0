//! [`Part`]: a table of a picture; and how things are painted.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Cell, Row, Table};

/// Columns between columns.
const SPACING: u16 = 2;
/// Columns of a number at least, lest the table moves whenever one gets a digit more.
const NUMBER_COLUMNS_MIN: usize = 9;
/// Columns of a text at most, unless it is the last.
const TEXT_COLUMNS_MAX: usize = 40;
/// With fewer a text says nothing.
const TEXT_COLUMNS_MIN: usize = 8;
/// Where notes begin.
const NOTE_INDENT: u16 = 11;
/// Lines that the last part has in any case.
const LAST_LINES: usize = 7;

/// A table with a title.
pub(crate) struct Part {
    pub(crate) title: &'static str,
    /// Of the columns; none, or one for each.
    pub(crate) heads: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Item>>,
    /// A line under each row; none, or one for each.
    pub(crate) notes: Vec<String>,
}

struct Column {
    width: u16,
    right: bool,
}

/// A cell of a table.
pub(crate) struct Item {
    pub(crate) text: String,
    pub(crate) style: Style,
    pub(crate) right: bool,
}

/// Styles, with or without colours.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    pub(crate) color: bool,
}

impl Paint {
    pub(crate) fn bad(self) -> Style {
        self.or_bold(Color::Red)
    }

    pub(crate) fn fair(self) -> Style {
        self.or_bold(Color::Yellow)
    }

    pub(crate) fn good(self) -> Style {
        self.or_bold(Color::Green)
    }

    pub(crate) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(crate) fn faint(self) -> Style {
        if self.color { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn or_bold(self, color: Color) -> Style {
        if self.color { Style::new().fg(color).add_modifier(Modifier::BOLD) } else { self.bold() }
    }
}

impl Item {
    pub(crate) fn at_right(mut self) -> Self {
        self.right = true;
        self
    }
}

impl Part {
    /// With its title and heads.
    fn lines(&self) -> usize {
        1 + usize::from(!self.heads.is_empty()) + self.rows.len() * self.lines_of_a_row()
    }

    fn lines_of_a_row(&self) -> usize {
        if self.notes.is_empty() { 1 } else { 2 }
    }

    fn draw(self, frame: &mut Frame<'_>, area: Rect, paint: Paint) {
        let columns = self.columns(usize::from(area.width));
        let height = self.lines_of_a_row() as u16;
        let rows = self.rows.iter().map(|row| {
            let cells = row.iter().take(columns.len());
            let cells = cells.map(|item| cell(Text::styled(item.text.as_str(), item.style), item.right));
            Row::new(cells).height(height)
        });
        let title = Block::new().borders(Borders::TOP).title(Span::styled(self.title, paint.bold()));
        let widths = columns.iter().map(|column| Constraint::Length(column.width));
        let mut table = Table::new(rows, widths).column_spacing(SPACING).block(title);
        if !self.heads.is_empty() {
            let heads =
                columns.iter().zip(&self.heads).map(|(column, head)| cell(Text::raw(*head), column.right));
            table = table.header(Row::new(heads).style(paint.faint()));
        }
        frame.render_widget(table, area);
        // Title and heads, then each note below its row.
        let notes = self.notes.iter().zip((area.y + 3..area.bottom()).step_by(2));
        for (note, y) in notes {
            let indent = NOTE_INDENT.min(area.width);
            let line = Rect { x: area.x + indent, y, width: area.width - indent, height: 1 };
            frame.render_widget(Line::raw(note.as_str()), line);
        }
    }

    /// As many columns, from the left, as there is room for. Numbers are shown whole or not at all; of a text the beginning
    /// suffices.
    fn columns(&self, room: usize) -> Vec<Column> {
        let most = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let mut columns = Vec::new();
        let mut left = room;
        for at in 0..most {
            let items = || self.rows.iter().filter_map(move |row| row.get(at));
            let right = items().next().is_some_and(|item| item.right);
            let head = self.heads.get(at).map_or(0, |head| head.len());
            let widest =
                items().map(|item| Span::raw(item.text.as_str()).width()).max().unwrap_or_default().max(head);
            let wanted = match (right, at + 1 == most) {
                (true, _) => widest.max(NUMBER_COLUMNS_MIN),
                (false, true) => widest,
                (false, false) => widest.min(TEXT_COLUMNS_MAX),
            };
            let enough = if right { wanted } else { wanted.min(TEXT_COLUMNS_MIN) };
            if enough > left {
                break;
            }
            let width = wanted.min(left);
            left = left.saturating_sub(width + usize::from(SPACING));
            columns.push(Column { width: u16::try_from(width).unwrap_or(u16::MAX), right });
        }
        columns
    }
}

/// Parts from above. What has no rows is left out; what has no room is cut, but for the last part, which has a few lines in any case.
pub(crate) fn stack(frame: &mut Frame<'_>, area: Rect, mut parts: Vec<Part>, paint: Paint) {
    parts.retain(|part| !part.rows.is_empty());
    let Some(last) = parts.pop() else { return };
    let reserved = last.lines().min(LAST_LINES).min(usize::from(area.height)) as u16;
    let mut top = area.y;
    for part in parts {
        let left = area.bottom().saturating_sub(top).saturating_sub(reserved);
        let height = u16::try_from(part.lines()).unwrap_or(u16::MAX).min(left);
        // A title alone says nothing.
        if height > 2 {
            part.draw(frame, Rect { y: top, height, ..area }, paint);
            top += height;
        }
    }
    last.draw(frame, Rect { y: top, height: area.bottom().saturating_sub(top), ..area }, paint);
}

fn cell(text: Text<'_>, right: bool) -> Cell<'_> {
    Cell::from(if right { text.alignment(Alignment::Right) } else { text })
}

pub(crate) fn plain(text: &str) -> Item {
    styled(text, Style::new())
}

pub(crate) fn right(text: String) -> Item {
    Item { text, style: Style::new(), right: true }
}

pub(crate) fn styled(text: &str, style: Style) -> Item {
    // A line break would make a cell of two lines.
    Item { text: text.replace(['\n', '\r'], " "), style, right: false }
}
