//! Aggregates and windows over the rows of the table.

use super::Calls;

/// Columns with an order of their own.
const COLUMNS: [&str; 10] = ["i2", "i4", "i8", "n", "nb", "t", "d", "ts", "iv", "b"];
const KEYS: [&str; 6] = ["id", "b, id", "t, id desc", "d desc nulls last, id", "i4, id", "id desc"];

impl Calls {
    pub(super) fn aggregate(&mut self) -> String {
        let (x, key) = (self.pick(&COLUMNS), self.pick(&KEYS));
        let filter = self.pick(&[
            "",
            "",
            " filter (where b)",
            " filter (where id > 3)",
            " filter (where false)",
        ]);
        let number = self.pick(&COLUMNS[..5]);
        let call = match self.random.below(12) {
            0 => format!("array_agg({x} order by {key}){filter}"),
            1 => format!("string_agg({x}::text, ',' order by {key}){filter}"),
            2 => format!("count(distinct {x}){filter}, count({x}){filter}, count(*){filter}"),
            3 => format!("min({}){filter}, max(d){filter}", self.pick(&COLUMNS[..9])),
            4 => format!("sum(distinct {}){filter}", self.pick(&COLUMNS[..3])),
            5 => format!("avg({}){filter}, sum({number}){filter}", self.pick(&COLUMNS[..2])),
            6 => format!("json_agg({x} order by {key}){filter}"),
            7 => format!("jsonb_agg({x} order by {key}){filter}"),
            8 => format!(
                "bool_and(b){filter}, bool_or(i4 > 0){filter}, bit_and(i4){filter}, bit_or(i2){filter}, bit_xor(i8){filter}"
            ),
            9 => format!("array_agg(distinct {x} order by {x} desc nulls last){filter}"),
            10 => format!(
                "percentile_disc(0.5) within group (order by {x}){filter}, mode() within group (order by {x})"
            ),
            _ => format!(
                "json_object_agg(id, {x} order by {key}){filter}, string_agg(distinct t, '|' order by t)"
            ),
        };
        match self.random.below(4) {
            0 => format!("b, {call} from e group by b order by b"),
            1 => format!(
                "b, i4 > 1, {call} from e group by rollup (b, i4 > 1) \
 order by grouping(b, i4 > 1), 1, 2"
            ),
            2 => format!("{call} from e where id < 0"),
            _ => format!("{call} from e"),
        }
    }

    fn bound(&mut self, end: bool) -> String {
        let n = self.random.below(4);
        match self.random.below(5) {
            0 if end => "unbounded following".to_owned(),
            0 => "unbounded preceding".to_owned(),
            1 | 2 => "current row".to_owned(),
            3 => format!("{n} preceding"),
            _ => format!("{n} following"),
        }
    }

    pub(super) fn window(&mut self) -> String {
        let (x, number) = (self.pick(&COLUMNS), self.pick(&COLUMNS[..3]));
        let n = self.random.below(4);
        let call = match self.random.below(13) {
            0 => format!("sum({number})"),
            1 => format!("count({x})"),
            2 => format!("min({})", self.pick(&COLUMNS[..9])),
            3 => format!("first_value({x})"),
            4 => format!("last_value({x})"),
            5 => format!("nth_value({x}, {n})"),
            6 => format!("lag({x}, {n})"),
            7 => format!("lead({x}, -{n})"),
            8 => self
                .pick(&["rank()", "dense_rank()", "row_number()", "percent_rank()", "cume_dist()"])
                .to_owned(),
            9 => format!("ntile({n})"),
            10 => format!("array_agg({x})"),
            11 => format!("avg({number}) filter (where b)"),
            _ => format!("max({number})"),
        };
        let partition = self.pick(&["", "", "partition by b ", "partition by i4 > 0 "]);
        let unit = self.pick(&["rows", "rows", "range", "groups"]);
        // Frames by ranges go by one number; the others by an order without equals.
        let order =
            if unit == "range" { self.pick(&["id", "id desc", "i2"]) } else { self.pick(&KEYS) };
        let (from, to) = (self.bound(false), self.bound(true));
        let exclude = self.pick(&[
            "",
            "",
            " exclude current row",
            " exclude ties",
            " exclude group",
            " exclude no others",
        ]);
        let frame = match self.random.below(4) {
            0 => String::new(),
            1 => format!(" {unit} {from}{exclude}"),
            _ => format!(" {unit} between {from} and {to}{exclude}"),
        };
        let order = if order == "i2" && call.contains('(') {
            "i2, id".to_owned()
        } else {
            order.to_owned()
        };
        let order = if unit == "range" && order.contains(',') { "id".to_owned() } else { order };
        format!("id, {call} over ({partition}order by {order}{frame}) from e order by id")
    }
}
