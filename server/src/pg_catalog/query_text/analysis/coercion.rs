//! Types of expressions, and casts.

use glaredb_engine::types::{
    PgType,
    text::{parse_text, write_text},
};

use super::{
    super::{
        tree::{Conversion, Node, SublinkKind, Ty},
        types::{self, BOOL, INTERVAL, RECORD, TEXT, UNKNOWN},
    },
    Analysis,
};

impl Node {
    /// The type of its value.
    pub(in super::super) fn ty(&self) -> Ty {
        match self {
            Self::Column { ty, .. }
            | Self::WholeRow { ty, .. }
            | Self::Const { ty, .. }
            | Self::Cast { ty, .. }
            | Self::Op { ty, .. }
            | Self::NullIf { ty, .. }
            | Self::Coalesce { ty, .. }
            | Self::Extreme { ty, .. }
            | Self::Case { ty, .. }
            | Self::Array { ty, .. }
            | Self::Keyword { ty, .. }
            | Self::Subscripted { ty, .. }
            | Self::Field { ty, .. } => *ty,
            Self::Call(call) => call.ty,
            Self::Sublink { kind, ty, .. } => match kind {
                SublinkKind::Scalar | SublinkKind::Array => *ty,
                _ => Ty::of(BOOL),
            },
            Self::Row { ty, .. } => ty.unwrap_or(Ty::of(RECORD)),
            Self::Collate { arg, .. } => arg.ty(),
            Self::Grouping(_) => Ty::of(types::INT4),
            Self::Quantified { .. }
            | Self::And(_)
            | Self::Or(_)
            | Self::Not(_)
            | Self::Distinct { .. }
            | Self::IsNull { .. }
            | Self::Truth { .. }
            | Self::CompareRows { .. } => Ty::of(BOOL),
        }
    }

    fn is_unknown(&self) -> bool {
        self.ty().oid == UNKNOWN
    }
}

impl Analysis<'_> {
    /// The value as a type that the place it stands in wants; as it is where no cast is known.
    pub(super) fn implied(&self, node: Node, to: u32) -> Node {
        self.cast(node.clone(), Ty::of(to), 'i').unwrap_or(node)
    }

    /// The value as assigned to a column.
    pub(super) fn assigned(&self, node: Node, to: Ty) -> Option<Node> {
        self.cast(node, to, 'a')
    }

    /// What is still without a type is text.
    pub(super) fn decided(&self, node: Node) -> Node {
        if node.is_unknown() { self.implied(node, TEXT) } else { node }
    }

    /// A cast in a context: `i`mplicit, by `a`ssignment, `e`xplicit.
    pub(super) fn cast(&self, node: Node, to: Ty, context: char) -> Option<Node> {
        let from = node.ty();
        let implicit = context != 'e';
        if matches!(to.oid, types::ANY | UNKNOWN) {
            return Some(node);
        }
        let mut by = Conversion::Relabel;
        let mut node = node;
        let mut done = from.oid == to.oid;
        if from.oid == UNKNOWN
            && let Node::Const { value, .. } = node
        {
            let value = value.map(|text| self.normal(&text, to));
            // An interval is cut to its fields where it is read.
            let typmod = if to.oid == INTERVAL { to.typmod } else { -1 };
            node = Node::Const { value, ty: Ty { oid: to.oid, typmod } };
            if typmod == to.typmod {
                return Some(node);
            }
            done = true;
        }
        if let (Node::Array { items, .. }, Some(of), false) = (&node, types::element(to.oid), done)
            && context == 'e'
        {
            // What is written as an array of a type has its elements cast.
            let of = Ty { oid: of, typmod: to.typmod };
            let items = items.iter().cloned().map(|item| match types::element(item.ty().oid) {
                Some(_) => self.cast(item, to, context),
                None => self.cast(item, of, context),
            });
            let items = items.collect::<Option<Vec<_>>>()?;
            return Some(Node::Array { items, ty: Ty::of(to.oid) });
        }
        if !done {
            by = types::conversion(from.oid, to.oid, context)
                .or_else(|| self.row_conversion(from.oid, to.oid))?;
        }
        let lengthens =
            to.typmod >= 0 && types::has_length(types::element(to.oid).unwrap_or(to.oid));
        if done && (to.typmod == node.ty().typmod || (to.typmod < 0 && implicit)) {
            return Some(node);
        }
        if done && !lengthens && to.typmod >= 0 {
            return Some(node);
        }
        if lengthens {
            by = Conversion::Function;
            // Only the last step shows.
            if let Node::Cast { arg, implicit: true, .. } = node {
                node = *arg;
            }
        }
        Some(Node::Cast { arg: Box::new(node), ty: to, implicit, by })
    }

    /// Rows of tables become records.
    fn row_conversion(&self, from: u32, to: u32) -> Option<Conversion> {
        let is_row =
            |oid: u32| oid == RECORD || self.around.catalog.table_with_inner_oid(oid).is_some();
        (is_row(from) && is_row(to)).then_some(Conversion::Relabel)
    }

    /// A constant's text as its type prints it.
    fn normal(&self, text: &str, to: Ty) -> String {
        let Some(of) = PgType::from_oid(to.oid, if to.oid == INTERVAL { to.typmod } else { -1 })
        else {
            return text.to_owned();
        };
        let keeps =
            matches!(of, PgType::Text | PgType::Varchar(_) | PgType::Bpchar(_) | PgType::Json)
                || of.is_object_name();
        if keeps {
            return text.to_owned();
        }
        let printed = parse_text(text, &of, self.around.format).ok().and_then(|value| {
            let array = value.to_array().ok()?;
            let mut printed = Vec::new();
            write_text(&array, 0, &of, self.around.format, &mut printed);
            String::from_utf8(printed).ok()
        });
        printed.unwrap_or_else(|| text.to_owned())
    }

    /// All of them in their common type.
    pub(super) fn unified(&self, nodes: Vec<Node>) -> Option<(Vec<Node>, Ty)> {
        let types: Vec<u32> = nodes.iter().map(|node| node.ty().oid).collect();
        let oid = types::common_type(&types)?;
        let nodes: Vec<Node> = nodes.into_iter().map(|node| self.implied(node, oid)).collect();
        Some((nodes.clone(), Ty { oid, typmod: common_modifier(&nodes) }))
    }
}

/// The modifier that all have, or none.
pub(super) fn common_modifier(nodes: &[Node]) -> i32 {
    let mut modifiers = nodes.iter().map(|node| node.ty().typmod);
    let first = modifiers.next().unwrap_or(-1);
    if modifiers.all(|other| other == first) { first } else { -1 }
}
