//! Expressions.

use datafusion::sql::sqlparser::ast::{self, BinaryOperator as B, UnaryOperator};
use glaredb_engine::{
    query::{parser, planner::reassociated, type_names},
    types::PgType,
};

use super::{
    super::{
        tree::{Node, Query, SublinkKind, Subscript, Ty},
        ty_of,
        types::{self, BOOL, INT4, INT8, NUMERIC, TEXT, UNKNOWN},
    },
    Analysis,
};

impl Analysis<'_> {
    /// A condition: boolean.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Option<Node> {
        let node = self.expr(expr)?;
        Some(self.implied(node, BOOL))
    }

    pub(super) fn exprs<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e ast::Expr>,
    ) -> Option<Vec<Node>> {
        exprs.into_iter().map(|expr| self.expr(expr)).collect()
    }

    pub(super) fn expr(&mut self, expr: &ast::Expr) -> Option<Node> {
        use ast::Expr as E;
        if let Some(expr) = reassociated(expr) {
            return self.expr(&expr);
        }
        Some(match expr {
            E::Identifier(ident) => return self.identifier(ident),
            E::CompoundIdentifier(parts) => return self.column(parts),
            E::Value(value) => return literal(&value.value),
            E::TypedString(typed) => {
                let text =
                    Node::Const { value: Some(text_of(&typed.value.value)?), ty: Ty::of(UNKNOWN) };
                return self.cast(text, ty_of(&type_names::pg_type(&typed.data_type).ok()?), 'e');
            }
            E::Interval(interval) => return self.interval(interval),
            E::Nested(inner) => return self.expr(inner),
            E::Cast { expr, data_type, .. } => {
                let to = ty_of(&type_names::pg_type(data_type).ok()?);
                let node = self.expr(expr)?;
                if to.oid == UNKNOWN {
                    return Some(node);
                }
                return self.cast(node, to, 'e');
            }
            E::BinaryOp { left, op, right } => return self.binary(left, op, right),
            E::UnaryOp { op, expr } => return self.unary(*op, expr),
            E::IsNull(e) => self.is_null(e, false)?,
            E::IsNotNull(e) => self.is_null(e, true)?,
            E::IsTrue(e) => self.truth(e, "IS TRUE")?,
            E::IsNotTrue(e) => self.truth(e, "IS NOT TRUE")?,
            E::IsFalse(e) => self.truth(e, "IS FALSE")?,
            E::IsNotFalse(e) => self.truth(e, "IS NOT FALSE")?,
            E::IsUnknown(e) => self.truth(e, "IS UNKNOWN")?,
            E::IsNotUnknown(e) => self.truth(e, "IS NOT UNKNOWN")?,
            E::IsDistinctFrom(l, r) => self.distinct(l, r)?,
            E::IsNotDistinctFrom(l, r) => Node::Not(Box::new(self.distinct(l, r)?)),
            E::Between { expr, negated, low, high } => {
                return self.between(expr, low, high, *negated);
            }
            E::InList { expr, list, negated } => return self.in_list(expr, list, *negated),
            E::InSubquery { expr, subquery, negated } => {
                let link = self.subquery_test(expr, "=", subquery, SublinkKind::Any)?;
                if *negated { Node::Not(Box::new(link)) } else { link }
            }
            E::Exists { subquery, negated } => {
                let query = Box::new(self.query(subquery)?);
                let link = sublink(SublinkKind::Exists, query, Ty::of(BOOL));
                if *negated { Node::Not(Box::new(link)) } else { link }
            }
            E::Subquery(query) => {
                let mut query = Box::new(self.query(query)?);
                self.texts(&mut query);
                let ty = query.targets.first()?.node.ty();
                sublink(SublinkKind::Scalar, query, ty)
            }
            E::AnyOp { left, compare_op, right, .. } => {
                return self.quantified(left, compare_op, right, true);
            }
            E::AllOp { left, compare_op, right } => {
                return self.quantified(left, compare_op, right, false);
            }
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                let name = if *negated { "!~~" } else { "~~" };
                return self.like(expr, name, pattern, escape_char.as_ref());
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                let name = if *negated { "!~~*" } else { "~~*" };
                return self.like(expr, name, pattern, escape_char.as_ref());
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                let mut args = vec![self.expr(pattern)?];
                if let Some(escape) = escape_char {
                    args.push(literal(&escape.value)?);
                }
                let pattern = self.call_named("similar_to_escape", args)?;
                let left = self.expr(expr)?;
                return self.operator(if *negated { "!~" } else { "~" }, left, pattern);
            }
            E::Case { operand, conditions, else_result, .. } => {
                return self.case(operand.as_deref(), conditions, else_result.as_deref());
            }
            E::Function(function) => return self.function(function),
            E::Collate { expr, collation } => {
                let node = self.expr(expr)?;
                let arg = Box::new(self.decided(node));
                let name = collation.0.last()?.as_ident()?.value.clone();
                Node::Collate { arg, collation: name }
            }
            E::Array(array) => return self.array(&array.elem),
            E::Tuple(fields) => {
                let fields = self.exprs(fields)?;
                let fields = fields.into_iter().map(|field| self.decided(field));
                Node::Row { fields: fields.collect(), ty: None }
            }
            E::CompoundFieldAccess { root, access_chain } => {
                return self.accesses(root, access_chain);
            }
            other => return self.special(other),
        })
    }

    fn identifier(&mut self, ident: &ast::Ident) -> Option<Node> {
        if ident.quote_style.is_none()
            && let Some(keyword) = keyword(&ident.value, None)
        {
            return Some(keyword);
        }
        self.column(std::slice::from_ref(ident))
    }

    fn interval(&mut self, interval: &ast::Interval) -> Option<Node> {
        let value = match interval.value.as_ref() {
            ast::Expr::Value(value) => text_of(&value.value)?,
            _ => return None,
        };
        let text = Node::Const { value: Some(value), ty: Ty::of(UNKNOWN) };
        // With fields, it is what a cast to the type with these gives.
        let lower = |field: &ast::DateTimeField| field.to_string().to_lowercase();
        let digits = interval.fractional_seconds_precision.or(interval.leading_precision);
        let digits = digits.map(|digits| digits.min(6) as u8);
        let fields = match &interval.leading_field {
            None => digits.map(glaredb_engine::types::text::IntervalFields::all),
            Some(first) => {
                let last = interval.last_field.as_ref().map_or_else(|| lower(first), lower);
                glaredb_engine::types::text::IntervalFields::new(&lower(first), &last, digits)
            }
        };
        self.cast(text, ty_of(&PgType::Interval(fields)), 'e')
    }

    fn binary(&mut self, left: &ast::Expr, op: &B, right: &ast::Expr) -> Option<Node> {
        match op {
            B::And | B::Or => {
                let (l, r) = (self.condition(left)?, self.condition(right)?);
                // A chain is one AND of many, as far as it is written as one.
                let chained = matches!(strip(left), ast::Expr::BinaryOp { op: of, .. } if of == op);
                return Some(match (op, l) {
                    (B::And, Node::And(mut all)) if chained => {
                        all.push(r);
                        Node::And(all)
                    }
                    (B::Or, Node::Or(mut any)) if chained => {
                        any.push(r);
                        Node::Or(any)
                    }
                    (B::And, l) => Node::And(vec![l, r]),
                    (_, l) => Node::Or(vec![l, r]),
                });
            }
            B::Overlaps => return self.overlaps(left, right),
            _ => {}
        }
        let name = match op {
            B::PGCustomBinaryOperator(parts) => parts.last()?.clone(),
            B::NotEq => "<>".to_owned(),
            other => other.to_string(),
        };
        match (fields(left), strip(right)) {
            (Some(fields), ast::Expr::Subquery(query)) => {
                return self.row_subquery(fields, &name, query, SublinkKind::Row);
            }
            (Some(l), right) if let Some(r) = self::fields(right) => {
                return self.compare_rows(&name, l, r);
            }
            _ => {}
        }
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        self.operator(&name, l, r)
    }

    fn unary(&mut self, op: UnaryOperator, expr: &ast::Expr) -> Option<Node> {
        match op {
            UnaryOperator::Not => Some(Node::Not(Box::new(self.condition(expr)?))),
            UnaryOperator::Minus => {
                // The minus of a number belongs to it.
                if let ast::Expr::Value(value) = expr
                    && let ast::Value::Number(digits, _) = &value.value
                {
                    return number(&format!("-{digits}"));
                }
                let node = self.expr(expr)?;
                self.prefix("-", node)
            }
            other => {
                let node = self.expr(expr)?;
                self.prefix(&other.to_string(), node)
            }
        }
    }

    fn is_null(&mut self, expr: &ast::Expr, not: bool) -> Option<Node> {
        let node = self.expr(expr)?;
        Some(Node::IsNull { arg: Box::new(self.decided(node)), not })
    }

    fn truth(&mut self, expr: &ast::Expr, test: &'static str) -> Option<Node> {
        Some(Node::Truth { arg: Box::new(self.condition(expr)?), test })
    }

    fn distinct(&mut self, left: &ast::Expr, right: &ast::Expr) -> Option<Node> {
        if let (Some(l), Some(r)) = (fields(left), fields(right)) {
            // Field by field, any of which may be distinct.
            let pairs = l.iter().zip(r).map(|(l, r)| self.distinct(l, r));
            let mut tests = pairs.collect::<Option<Vec<_>>>()?;
            return if tests.len() == 1 { tests.pop() } else { Some(Node::Or(tests)) };
        }
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        let is_null = |node: &Node| matches!(node, Node::Const { value: None, .. });
        // Beside a NULL it is a test for it.
        match (is_null(&l), is_null(&r)) {
            (_, true) => return Some(Node::IsNull { arg: Box::new(self.decided(l)), not: true }),
            (true, _) => return Some(Node::IsNull { arg: Box::new(self.decided(r)), not: true }),
            _ => {}
        }
        let Node::Op { mut args, .. } = self.operator("=", l, r)? else { return None };
        let right = Box::new(args.pop()?);
        Some(Node::Distinct { left: Box::new(args.pop()?), right })
    }

    fn between(
        &mut self,
        expr: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
    ) -> Option<Node> {
        let (low, symmetric) = match symmetric_bound(low) {
            Some(low) => (low, true),
            None => (low, false),
        };
        let (at_least, at_most) = if negated { ("<", ">") } else { (">=", "<=") };
        let mut pair = |low: &ast::Expr, high: &ast::Expr| {
            let both = vec![
                self.binary_named(expr, at_least, low)?,
                self.binary_named(expr, at_most, high)?,
            ];
            Some(if negated { Node::Or(both) } else { Node::And(both) })
        };
        let plain = pair(low, high)?;
        if !symmetric {
            return Some(plain);
        }
        let both = vec![plain, pair(high, low)?];
        Some(if negated { Node::And(both) } else { Node::Or(both) })
    }

    fn binary_named(&mut self, left: &ast::Expr, name: &str, right: &ast::Expr) -> Option<Node> {
        if let (Some(l), Some(r)) = (fields(left), fields(right)) {
            return self.compare_rows(name, l, r);
        }
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        self.operator(name, l, r)
    }

    /// What varies from row to row is compared by itself, the rest as an array.
    fn in_list(&mut self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Option<Node> {
        let name = if negated { "<>" } else { "=" };
        let is_row = fields(expr).is_some();
        let mut tests = Vec::new();
        let (mut constant, mut varying) = (Vec::new(), Vec::new());
        for item in list {
            let varies = is_row || {
                let node = self.expr(item)?;
                has_columns(&node)
            };
            if varies { varying.push(item) } else { constant.push(item) }
        }
        if constant.len() > 1 {
            let left = self.expr(expr)?;
            let items = self.exprs(constant.iter().copied())?;
            let mut all = vec![left.ty().oid];
            all.extend(items.iter().map(|item| item.ty().oid));
            let common = types::common_type(&all).filter(|ty| *ty != types::RECORD);
            if let Some(array) = common.and_then(types::array_of) {
                let common = common?;
                let items = items.into_iter().map(|item| self.implied(item, common)).collect();
                let right = Node::Array { items, ty: Ty::of(array) };
                tests.push(self.any_all(name, !negated, left, right)?);
                constant.clear();
            }
        }
        // Those that were not put together stand in the order they are written.
        let rest = list.iter().filter(|item| {
            constant.iter().any(|c| std::ptr::eq(*c, *item))
                || varying.iter().any(|v| std::ptr::eq(*v, *item))
        });
        for item in rest {
            tests.push(self.binary_named(expr, name, item)?);
        }
        match tests.len() {
            1 => tests.pop(),
            _ if negated => Some(Node::And(tests)),
            _ => Some(Node::Or(tests)),
        }
    }

    fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &B,
        right: &ast::Expr,
        any: bool,
    ) -> Option<Node> {
        let name = match op {
            B::NotEq => "<>".to_owned(),
            other => other.to_string(),
        };
        let kind = if any { SublinkKind::Any } else { SublinkKind::All };
        if let ast::Expr::Subquery(query) = right {
            return self.subquery_test(left, &name, query, kind);
        }
        let (l, r) = (self.expr(left)?, self.expr(right)?);
        self.any_all(&name, any, l, r)
    }

    /// `left name ANY (array)`.
    fn any_all(&self, name: &str, any: bool, left: Node, right: Node) -> Option<Node> {
        let array = right.ty().oid;
        let item = if array == UNKNOWN { UNKNOWN } else { types::element(array)? };
        let chosen = types::binary_operator(name, left.ty().oid, item)?;
        let left = self.implied(left, chosen.args[0]);
        let array = types::array_of(chosen.args[1])?;
        let right = self.implied(right, array);
        Some(Node::Quantified {
            name: name.to_owned(),
            any,
            left: Box::new(left),
            right: Box::new(right),
        })
    }

    /// `left name ANY (SELECT …)` and IN.
    fn subquery_test(
        &mut self,
        left: &ast::Expr,
        name: &str,
        query: &ast::Query,
        kind: SublinkKind,
    ) -> Option<Node> {
        if let Some(fields) = fields(left) {
            return self.row_subquery(fields, name, query, kind);
        }
        self.row_subquery(std::slice::from_ref(left), name, query, kind)
    }

    fn row_subquery(
        &mut self,
        fields: &[ast::Expr],
        name: &str,
        query: &ast::Query,
        kind: SublinkKind,
    ) -> Option<Node> {
        let mut query = Box::new(self.query(query)?);
        self.texts(&mut query);
        let visible: Vec<Ty> =
            query.targets.iter().filter(|t| !t.hidden).map(|t| t.node.ty()).collect();
        let mut test = Vec::with_capacity(fields.len());
        for (field, column) in fields.iter().zip(visible) {
            let node = self.expr(field)?;
            test.push(match types::binary_operator(name, node.ty().oid, column.oid) {
                Some(chosen) => self.implied(node, chosen.args[0]),
                None => node,
            });
        }
        Some(Node::Sublink { kind, test, name: name.to_owned(), query, ty: Ty::of(BOOL) })
    }

    fn like(
        &mut self,
        expr: &ast::Expr,
        name: &str,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
    ) -> Option<Node> {
        let left = self.expr(expr)?;
        let mut right = self.expr(pattern)?;
        if let Some(escape) = escape {
            let escape = literal(&escape.value)?;
            right = self.call_named("like_escape", vec![right, escape])?;
        }
        self.operator(name, left, right)
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Option<Node> {
        let operand = match operand {
            None => None,
            Some(operand) => {
                let node = self.expr(operand)?;
                Some(Box::new(self.decided(node)))
            }
        };
        let (mut tests, mut results) = (Vec::new(), Vec::new());
        for when in conditions {
            tests.push(match &operand {
                None => self.condition(&when.condition)?,
                Some(operand) => {
                    let right = self.expr(&when.condition)?;
                    match types::binary_operator("=", operand.ty().oid, right.ty().oid) {
                        Some(chosen) => self.implied(right, chosen.args[1]),
                        None => right,
                    }
                }
            });
            results.push(self.expr(&when.result)?);
        }
        let null = Node::Const { value: None, ty: Ty::of(UNKNOWN) };
        let otherwise = match otherwise {
            None => null,
            Some(otherwise) => self.expr(otherwise)?,
        };
        // ELSE has the first word on the type.
        results.insert(0, otherwise);
        let (mut results, ty) = self.unified(results)?;
        let otherwise = Box::new(results.remove(0));
        let whens = tests.into_iter().zip(results).collect();
        Some(Node::Case { operand, whens, otherwise, ty })
    }

    fn array(&mut self, items: &[ast::Expr]) -> Option<Node> {
        let items = self.exprs(items)?;
        if items.is_empty() {
            return Some(Node::Array { items, ty: Ty::of(types::array_of(TEXT)?) });
        }
        let (items, ty) = self.unified(items)?;
        // An array of arrays is one of more dimensions.
        let array = match types::element(ty.oid) {
            Some(_) => ty.oid,
            None => types::array_of(ty.oid)?,
        };
        Some(Node::Array { items, ty: Ty { oid: array, typmod: ty.typmod } })
    }

    fn accesses(&mut self, root: &ast::Expr, chain: &[ast::AccessExpr]) -> Option<Node> {
        let mut node = self.expr(root)?;
        let mut subscripts = Vec::new();
        for access in chain {
            match access {
                ast::AccessExpr::Dot(ast::Expr::Identifier(name)) => {
                    node = subscripted(node, std::mem::take(&mut subscripts))?;
                    node = self.field(node, &parser::fold_identifier(name))?;
                }
                ast::AccessExpr::Dot(_) => return None,
                ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                    let index = self.expr(index)?;
                    let wanted = if node.ty().oid == 3802 { TEXT } else { INT4 };
                    let is_number = matches!(index.ty().oid, INT4 | 21 | INT8);
                    let index = match (wanted, is_number) {
                        (TEXT, true) => index,
                        _ => self.cast(index, Ty::of(wanted), 'a')?,
                    };
                    subscripts.push(Subscript { slice: false, lower: None, upper: Some(index) });
                }
                ast::AccessExpr::Subscript(ast::Subscript::Slice {
                    lower_bound,
                    upper_bound,
                    ..
                }) => {
                    let mut bound = |bound: &Option<ast::Expr>| match bound {
                        None => Some(None),
                        Some(expr) => {
                            let node = self.expr(expr)?;
                            Some(Some(self.cast(node, Ty::of(INT4), 'a')?))
                        }
                    };
                    let (lower, upper) = (bound(lower_bound)?, bound(upper_bound)?);
                    subscripts.push(Subscript { slice: true, lower, upper });
                }
            }
        }
        subscripted(node, subscripts)
    }
}

fn subscripted(node: Node, subscripts: Vec<Subscript>) -> Option<Node> {
    if subscripts.is_empty() {
        return Some(node);
    }
    let of = node.ty();
    let is_slice = subscripts.iter().any(|subscript| subscript.slice);
    let oid = match is_slice || of.oid == 3802 {
        true => of.oid,
        false => types::element(of.oid)?,
    };
    Some(Node::Subscripted { arg: Box::new(node), subscripts, ty: Ty { oid, typmod: of.typmod } })
}

pub(super) fn sublink(kind: SublinkKind, query: Box<Query>, ty: Ty) -> Node {
    Node::Sublink { kind, test: Vec::new(), name: String::new(), query, ty }
}

/// A function that is written without parentheses.
pub(super) fn keyword(name: &str, digits: Option<u64>) -> Option<Node> {
    let name = name.to_ascii_uppercase();
    let oid = match name.as_str() {
        "CURRENT_DATE" => 1082,
        "CURRENT_TIME" => 1266,
        "CURRENT_TIMESTAMP" => 1184,
        "LOCALTIME" => 1083,
        "LOCALTIMESTAMP" => 1114,
        "CURRENT_USER" | "CURRENT_ROLE" | "SESSION_USER" | "USER" | "CURRENT_CATALOG"
        | "CURRENT_SCHEMA" => 19,
        _ => return None,
    };
    let typmod = digits.map_or(-1, |digits| digits.min(6) as i32);
    let text = match digits {
        None => name,
        Some(digits) => format!("{name}({})", digits.min(6)),
    };
    Some(Node::Keyword { text, ty: Ty { oid, typmod } })
}

/// A constant.
pub(super) fn literal(value: &ast::Value) -> Option<Node> {
    let value = match value {
        ast::Value::Null => None,
        ast::Value::Boolean(value) => {
            return Some(Node::Const {
                value: Some(if *value { "t" } else { "f" }.to_owned()),
                ty: Ty::of(BOOL),
            });
        }
        ast::Value::Number(digits, _) => return number(digits),
        other => Some(text_of(other)?),
    };
    Some(Node::Const { value, ty: Ty::of(UNKNOWN) })
}

pub(super) fn text_of(value: &ast::Value) -> Option<String> {
    Some(match value {
        ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => {
            text.clone()
        }
        ast::Value::UnicodeStringLiteral(text) | ast::Value::NationalStringLiteral(text) => {
            text.clone()
        }
        ast::Value::DollarQuotedString(text) => text.value.clone(),
        ast::Value::Number(digits, _) => digits.clone(),
        _ => return None,
    })
}

/// A number: the narrowest type of integer, bigint and numeric that holds it.
fn number(digits: &str) -> Option<Node> {
    let (oid, value) = match digits.parse::<i64>() {
        Ok(number) if i32::try_from(number).is_ok() => (INT4, number.to_string()),
        Ok(number) => (INT8, number.to_string()),
        Err(_) => (NUMERIC, glaredb_engine::types::text::canonical_numeric(digits).ok()?),
    };
    Some(Node::Const { value: Some(value), ty: Ty::of(oid) })
}

/// The fields of `(a, b)` or `ROW(a, b)`.
pub(super) fn fields(expr: &ast::Expr) -> Option<&[ast::Expr]> {
    match expr {
        ast::Expr::Tuple(fields) => Some(fields),
        ast::Expr::Nested(inner) => fields(inner),
        _ => None,
    }
}

fn strip(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

/// The lower bound of BETWEEN SYMMETRIC, which the parser marks.
fn symmetric_bound(low: &ast::Expr) -> Option<&ast::Expr> {
    let ast::Expr::Function(function) = low else { return None };
    if function.name.0.last()?.as_ident()?.value != parser::SYMMETRIC {
        return None;
    }
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(low))] => Some(low),
        _ => None,
    }
}

/// Whether a value depends on columns of its own query.
pub(super) fn has_columns(node: &Node) -> bool {
    match node {
        Node::Column { up, .. } | Node::WholeRow { up, .. } => *up == 0,
        Node::Const { .. } | Node::Keyword { .. } => false,
        Node::Call(call) => call.args.iter().any(has_columns),
        Node::Cast { arg, .. }
        | Node::Not(arg)
        | Node::IsNull { arg, .. }
        | Node::Truth { arg, .. }
        | Node::Collate { arg, .. }
        | Node::Field { arg, .. } => has_columns(arg),
        Node::Subscripted { arg, subscripts, .. } => {
            let mut bounds = subscripts.iter().flat_map(|s| s.lower.iter().chain(&s.upper));
            has_columns(arg) || bounds.any(has_columns)
        }
        Node::Op { args, .. }
        | Node::And(args)
        | Node::Or(args)
        | Node::NullIf { args, .. }
        | Node::Coalesce { args, .. }
        | Node::Extreme { args, .. }
        | Node::Grouping(args) => args.iter().any(has_columns),
        Node::Array { items, .. } | Node::Row { fields: items, .. } => {
            items.iter().any(has_columns)
        }
        Node::Quantified { left, right, .. } | Node::Distinct { left, right } => {
            has_columns(left) || has_columns(right)
        }
        Node::CompareRows { left, right, .. } => left.iter().chain(right).any(has_columns),
        Node::Case { operand, whens, otherwise, .. } => {
            let parts = whens.iter().any(|(a, b)| has_columns(a) || has_columns(b));
            parts || has_columns(otherwise) || operand.as_deref().is_some_and(has_columns)
        }
        // It may refer to columns from inside.
        Node::Sublink { test, .. } => test.iter().any(has_columns),
    }
}
