"""Tests of dashboard_picture.py: `python3 -m unittest discover scripts`."""

import unittest
import xml.etree.ElementTree as xml

from dashboard_picture import FOREGROUND, HEIGHT, PALETTE, WIDTH, Style, apply_sgr, cells, svg

SVG = "{http://www.w3.org/2000/svg}"


def elements(capture: str, name: str) -> list[xml.Element]:
    group = xml.fromstring(svg(capture, 40, 3)).find(f"{SVG}g")
    return group.findall(f"{SVG}{name}")


class Escapes(unittest.TestCase):
    def test_sixteen_colours_and_weight(self):
        self.assertEqual(apply_sgr(Style(), "1;31"), Style(fg=PALETTE[1], bold=True))
        self.assertEqual(apply_sgr(Style(), "96;44"), Style(fg=PALETTE[14], bg=PALETTE[4]))
        self.assertEqual(apply_sgr(Style(fg=PALETTE[1], bold=True, dim=True), "22;39"), Style())
        self.assertEqual(apply_sgr(Style(bold=True), ""), Style())

    def test_more_colours(self):
        self.assertEqual(apply_sgr(Style(), "38;2;1;2;255;1"), Style(fg="#0102ff", bold=True))
        self.assertEqual(apply_sgr(Style(), "38;5;196"), Style(fg="#ff0000"))
        self.assertEqual(apply_sgr(Style(), "48;5;2"), Style(bg=PALETTE[2]))

    def test_a_style_lasts_over_the_end_of_a_line(self):
        first, second = cells("\x1b[31ma\nb\x1b[0mc")
        self.assertEqual([style.fg for _, style in first + second], [PALETTE[1], PALETTE[1], None])

    def test_sequences_that_are_no_style_leave_nothing(self):
        self.assertEqual([char for char, _ in cells("a\x1b[2Kb\x1b(Bc\x0f")[0]], ["a", "b", "c"])


class Drawing(unittest.TestCase):
    def test_text_stands_in_its_cells(self):
        [text] = elements("\n  \x1b[1mab c\x1b[0m  ", "text")
        self.assertEqual((text.text, text.get("font-weight"), text.get("fill")), ("ab c", "bold", FOREGROUND))
        self.assertEqual(float(text.get("textLength")), round(4 * WIDTH, 1))

    def test_markup_is_escaped(self):
        [text] = elements("a<b>&c", "text")
        self.assertEqual(text.text, "a<b>&c")

    def test_a_bar_is_as_long_as_its_eighths(self):
        bar = elements("\x1b[36m███▌\x1b[39;2m░░\x1b[0m", "rect")
        widths = [float(part.get("width")) for part in bar]
        self.assertEqual(widths, [round(3 * WIDTH, 1), round(WIDTH / 2, 1), round(2 * WIDTH, 1)])
        self.assertEqual([part.get("fill") for part in bar], [PALETTE[6], PALETTE[6], FOREGROUND])

    def test_a_column_of_a_sparkline_is_as_high_as_its_eighths(self):
        heights = [float(part.get("height")) for part in elements("▂█", "rect")]
        self.assertEqual(heights, [HEIGHT / 4, HEIGHT])

    def test_frames_are_lines(self):
        self.assertEqual(len(elements("┌──┐", "rect")), 5)
        self.assertEqual(elements("┌──┐", "text"), [])

    def test_what_is_beyond_the_screen_is_not_drawn(self):
        self.assertEqual([text.text for text in elements("x" * 50 + "\n\n\nz", "text")], ["x" * 40])


if __name__ == "__main__":
    unittest.main()
