//! Operators without parentheses: what binds tighter.

use super::Calls;

const OPERANDS: [&str; 8] = ["2", "3", "1", "7", "0.5", "4", "10", "9.0"];

impl Calls {
    /// Operators over numbers and texts.
    fn chain(&mut self) -> String {
        let mut chain = String::new();
        for n in 0..2 + self.random.below(3) {
            if n > 0 {
                chain.push(' ');
                chain.push_str(self.pick(&[
                    "+", "-", "*", "/", "%", "^", "+", "-", "*", "||", "&", "|", "#", "<<", ">>",
                ]));
                chain.push(' ');
            }
            chain.push_str(self.pick(&["", "", "", "", "", "- ", "- ", "+ ", "@ ", "|/ ", "~ "]));
            chain.push_str(self.pick(&OPERANDS));
            chain.push_str(self.pick(&[
                "",
                "",
                "",
                "",
                "",
                "",
                "::int",
                "::text",
                "::numeric",
                "::float8",
            ]));
        }
        chain
    }

    fn relation(&mut self) -> String {
        let (a, b, c) = (self.chain(), self.chain(), self.chain());
        match self.random.below(14) {
            0 | 1 => format!("{a} {} {b}", self.pick(&["=", "<", ">=", "<>"])),
            2 => format!("{a} is null"),
            3 => format!("{a} between {b} and {c}"),
            4 => format!("{a} in ({b}, {c})"),
            5 => format!("{a} is distinct from {b}"),
            6 => format!("not {a} = {b}"),
            7 => format!("{a} = {b} is true"),
            8 => format!("{a} < {b} is not null"),
            9 => {
                format!("{a} {} {b} {}", self.pick(&["=", "+"]), self.pick(&["notnull", "isnull"]))
            }
            10 => format!("{a} not in ({b})"),
            11 => format!("'a' || {a} like '%' || {b}"),
            12 => format!("{a} = any (array[{b}])"),
            _ => format!("{a} not between {b} and {c}"),
        }
    }

    pub(super) fn precedence(&mut self) -> String {
        if self.random.once_in(2) {
            return self.chain();
        }
        let mut condition = self.relation();
        for _ in 0..self.random.below(3) {
            condition.push_str(self.pick(&[" and ", " or ", " and not ", " = ", " or not "]));
            condition.push_str(&self.relation());
        }
        condition
    }
}
