//! Syntax trees of expressions to typed DataFusion expressions.

use datafusion::{
    logical_expr::{
        Case, Expr, Operator,
        expr::{InList, Like},
    },
    scalar::ScalarValue,
    sql::sqlparser::ast::{self, BinaryOperator as B, Spanned, UnaryOperator},
};

use super::{
    Planner,
    bound::{Bound, undefined_operator},
    coerce::CastContext,
    like_any,
    operator_names::{json_symbol, named_operator},
    operators::binary,
    scope::Env,
};
use crate::{
    error::{SqlError, sqlstate},
    query::{
        functions::{
            arithmetic::Operation,
            builtin::BYTES_AS_TEXT,
            cast::{is_integer, is_text},
            pattern, scalar,
        },
        parser,
    },
    types::PgType,
};

/// Expressions may nest so deep in the planner; the parser bounds them, too.
const DEPTH_MAX: usize = 4_000;

impl Planner<'_> {
    /// Plans an expression.
    pub(super) fn expr(&mut self, expr: &ast::Expr, env: &Env<'_>) -> Result<Bound, SqlError> {
        if self.depth > DEPTH_MAX {
            return Err(SqlError::new(
                sqlstate::STATEMENT_TOO_COMPLEX,
                "stack depth limit exceeded",
            ));
        }
        self.depth += 1;
        let bound = stacker::maybe_grow(128 * 1024, 4 * 1024 * 1024, || self.expr_inner(expr, env));
        self.depth -= 1;
        bound
    }

    fn expr_inner(&mut self, expr: &ast::Expr, env: &Env<'_>) -> Result<Bound, SqlError> {
        use ast::Expr as E;
        if let Some(expr) = super::precedence::reassociated(expr) {
            return self.expr(&expr, env);
        }
        match expr {
            E::Identifier(ident) => self.identifier(ident, env),
            E::CompoundIdentifier(parts) => Ok(self.column(parts, env)?.bound),
            E::Value(value) => self.literal(&value.value),
            E::TypedString(typed) => self.typed_string(typed),
            E::Interval(interval) => self.interval(interval),
            E::Nested(inner) => self.expr(inner, env),
            E::BinaryOp { left, op, right } => self.binary_op(left, op, right, env),
            E::UnaryOp { op, expr } => self.unary_op(*op, expr, env),
            E::Cast { kind, expr, data_type, array: false, format: None } => {
                if !matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon) {
                    return Err(self.refuse(expr, "TRY_CAST"));
                }
                let to = self.type_of(data_type)?;
                let bound = self.expr_for_cast(expr, &to, env)?;
                // What is said of a name, or of a part of a row, need not quote it.
                let of_name = (to.is_object_name() || to.record_or_element().is_some())
                    && bound.constant_text().is_some();
                let fallback = of_name.then_some(expr.as_ref());
                self.coerce(bound, &to, CastContext::Explicit)
                    .map_err(|e| self.locate_literal(e, [expr.as_ref()], fallback))
            }
            E::IsNull(e) => self.null_test(e, false, env),
            E::IsNotNull(e) => self.null_test(e, true, env),
            E::IsTrue(e) => self.truth(e, env, "IS TRUE", Expr::IsTrue),
            E::IsNotTrue(e) => self.truth(e, env, "IS NOT TRUE", Expr::IsNotTrue),
            E::IsFalse(e) => self.truth(e, env, "IS FALSE", Expr::IsFalse),
            E::IsNotFalse(e) => self.truth(e, env, "IS NOT FALSE", Expr::IsNotFalse),
            E::IsUnknown(e) => self.truth(e, env, "IS UNKNOWN", Expr::IsUnknown),
            E::IsNotUnknown(e) => self.truth(e, env, "IS NOT UNKNOWN", Expr::IsNotUnknown),
            E::IsDistinctFrom(l, r) => self.comparison(l, Operator::IsDistinctFrom, r, env),
            E::IsNotDistinctFrom(l, r) => self.comparison(l, Operator::IsNotDistinctFrom, r, env),
            E::Between { expr, negated, low, high } => {
                let (low, symmetric) = match symmetric_bound(low) {
                    Some(low) => (low, true),
                    None => (low.as_ref(), false),
                };
                let mut between = self.between(expr, low, high, env)?;
                if symmetric {
                    let turned = self.between(expr, high, low, env)?;
                    between = binary(between, Operator::Or, turned);
                }
                Ok(Bound::bool(negate_if(*negated, between)))
            }
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated, env),
            E::InSubquery { expr, subquery, negated } => {
                self.in_subquery(expr, subquery, *negated, env)
            }
            E::Exists { subquery, negated } => self.exists(subquery, *negated, env),
            E::Subquery(query) => self.scalar_subquery(query, env),
            E::AnyOp { left, compare_op, right, is_some: _ } => {
                self.any_all(left, compare_op, right, true, env)
            }
            E::AllOp { left, compare_op, right } => {
                self.any_all(left, compare_op, right, false, env)
            }
            E::Like { negated, any, expr, pattern, escape_char: None }
                if like_any::is_quantified(*any, pattern) =>
            {
                self.like_quantified((expr, *any, pattern), *negated, false, env)
            }
            E::ILike { negated, any, expr, pattern, escape_char: None }
                if like_any::is_quantified(*any, pattern) =>
            {
                self.like_quantified((expr, *any, pattern), *negated, true, env)
            }
            E::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, false, env)
            }
            E::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_ref(), *negated, true, env)
            }
            E::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar_to(expr, pattern, escape_char.as_ref(), *negated, env)
            }
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref(), env)
            }
            E::Function(function) => self.function(function, env),
            E::Collate { expr, collation } => self.collate(expr, collation, env),
            E::Array(array) => {
                let types = array.elem.iter().map(|e| self.expr(e, env));
                let items = types.collect::<Result<Vec<_>, _>>()?;
                self.array(items).map_err(|e| self.locate_literal(e, &array.elem, None))
            }
            E::CompoundFieldAccess { root, access_chain } => {
                self.subscript(root, access_chain, env)
            }
            E::Tuple(fields) => self.row_of_fields(fields, env),
            E::QualifiedWildcard(name, _) => self.whole_row_named(name, env),
            E::Extract { .. }
            | E::Ceil { .. }
            | E::Floor { .. }
            | E::Position { .. }
            | E::Substring { .. }
            | E::Trim { .. }
            | E::Overlay { .. }
            | E::AtTimeZone { .. } => self.special_syntax(expr, env),
            E::Wildcard(_) => {
                Err(SqlError::new(sqlstate::SYNTAX_ERROR, "syntax error at or near \"*\""))
            }
            other => Err(self.refuse(other, &format!("expression {other}"))),
        }
    }

    /// 0A000 with the place of an expression.
    pub(super) fn refuse(&self, expr: &ast::Expr, what: &str) -> SqlError {
        let error = SqlError::not_supported(what);
        match self.statement.and_then(|s| s.position(expr.span().start)) {
            Some(position) => error.position(position),
            None => error,
        }
    }

    /// A column, or one of the functions written without parentheses.
    fn identifier(&mut self, ident: &ast::Ident, env: &Env<'_>) -> Result<Bound, SqlError> {
        if let Some(found) = self.find_column(ident, env)? {
            return Ok(found.bound);
        }
        if ident.quote_style.is_none() {
            let name = ident.value.to_lowercase();
            if let Some(bound) = self.keyword_function(&name)? {
                return Ok(bound);
            }
        }
        let name = parser::fold_identifier(ident);
        match self.find_table(None, &name, env)? {
            Some((table, levels)) => self.whole_row(table, levels),
            None => self.column(std::slice::from_ref(ident), env).map(|found| found.bound),
        }
    }

    /// An operand that may be of any type; what is still untyped becomes text.
    pub(super) fn any(&mut self, expr: &ast::Expr, env: &Env<'_>) -> Result<Bound, SqlError> {
        let bound = self.expr(expr, env)?;
        if bound.ty == PgType::Unknown {
            return self.coerce(bound, &PgType::Text, CastContext::Implicit);
        }
        Ok(bound)
    }

    /// The operand of a cast: an empty or untyped ARRAY[] takes the cast's type.
    fn expr_for_cast(
        &mut self,
        expr: &ast::Expr,
        to: &PgType,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if let (ast::Expr::Array(array), PgType::Array(of)) = (expr, to) {
            let mut items = Vec::new();
            for item in &array.elem {
                let item = self.expr(item, env)?;
                if matches!(item.ty, PgType::Array(_)) {
                    return Err(self.refuse(expr, "arrays of more dimensions"));
                }
                items.push(self.coerce(item, of, CastContext::Explicit)?);
            }
            return self.array_of(items, of);
        }
        self.expr(expr, env)
    }

    fn truth(
        &mut self,
        expr: &ast::Expr,
        env: &Env<'_>,
        clause: &str,
        wrap: fn(Box<Expr>) -> Expr,
    ) -> Result<Bound, SqlError> {
        let bound = self.expr(expr, env)?;
        let condition = self.condition(bound, clause).map_err(|e| self.locate(e, expr))?;
        Ok(Bound::bool(wrap(Box::new(condition))))
    }

    fn boolean(&mut self, expr: &ast::Expr, clause: &str, env: &Env<'_>) -> Result<Expr, SqlError> {
        let bound = self.expr(expr, env)?;
        self.condition(bound, clause).map_err(|e| self.locate(e, expr))
    }

    fn binary_op(
        &mut self,
        left: &ast::Expr,
        op: &B,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if let B::PGCustomBinaryOperator(parts) = op {
            let name = match parts.as_slice() {
                [schema, name] if schema == "pg_catalog" => name,
                [name] => name,
                _ => return Err(self.refuse(left, &format!("operator {}", parts.join(".")))),
            };
            let op = named_operator(name)
                .ok_or_else(|| SqlError::not_supported(format!("operator {name}")))?;
            return self.binary_op(left, &op, right, env);
        }
        super::collations::agree(left, right).map_err(|e| self.locate(e, right))?;
        if *op == B::Overlaps {
            return self.overlaps(left, right, env).map_err(|e| self.locate(e, left));
        }
        if let Some(comparison) = comparison_operator(op) {
            // They do not associate: `a = b = c` is no expression.
            if is_comparison(left) || is_comparison(right) {
                let message = format!("syntax error at or near \"{op}\"");
                return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
            }
            return self.comparison(left, comparison, right, env);
        }
        match op {
            B::And | B::Or => {
                let (name, op) =
                    if *op == B::And { ("AND", Operator::And) } else { ("OR", Operator::Or) };
                let l = self.boolean(left, name, env)?;
                let r = self.boolean(right, name, env)?;
                return Ok(Bound::bool(binary(l, op, r)));
            }
            _ => {}
        }
        let l = self.expr(left, env)?;
        let r = self.expr(right, env)?;
        if let Some(symbol) = json_symbol(op, Self::is_json_operation(&l, &r)) {
            return self
                .json_operator(l, symbol, r)
                .map_err(|e| self.locate_operator(e, left, symbol, right));
        }
        let operation = match op {
            B::Plus => Operation::Add,
            B::Minus => Operation::Subtract,
            B::Multiply => Operation::Multiply,
            B::Divide => Operation::Divide,
            B::Modulo => Operation::Modulo,
            B::StringConcat => {
                return self
                    .concatenate(l, r)
                    .map_err(|e| self.locate_operator(e, left, "||", right));
            }
            B::PGRegexMatch => return self.regex(l, r, false, false),
            B::PGRegexIMatch => return self.regex(l, r, true, false),
            B::PGRegexNotMatch => return self.regex(l, r, false, true),
            B::PGRegexNotIMatch => return self.regex(l, r, true, true),
            B::PGLikeMatch => return self.like_bound(l, r, None, false, false),
            B::PGILikeMatch => return self.like_bound(l, r, None, false, true),
            B::PGNotLikeMatch => return self.like_bound(l, r, None, true, false),
            B::PGNotILikeMatch => return self.like_bound(l, r, None, true, true),
            B::PGExp => return self.call_builtin("power", vec![l, r]),
            B::PGStartsWith => return self.call_builtin("starts_with", vec![l, r]),
            B::BitwiseAnd
            | B::BitwiseOr
            | B::PGBitwiseXor
            | B::PGBitwiseShiftLeft
            | B::PGBitwiseShiftRight => return self.bitwise(l, op, r),
            other => {
                let error = SqlError::not_supported(format!("operator {other}"));
                return Err(self.locate(error, left));
            }
        };
        self.arithmetic(l, operation, r)
            .map_err(|e| self.locate_operator(e, left, operation.symbol(), right))
    }

    /// `<<` and `>>`: by the bits that a number of the type has, at most.
    fn bits_shifted(&mut self, l: Bound, op: &B, r: Bound) -> Result<Bound, SqlError> {
        let known = |ty: &PgType| is_integer(ty) || *ty == PgType::Unknown;
        if !is_integer(&l.ty) || !known(&r.ty) || r.ty == PgType::Int8 {
            return Err(undefined_operator(&op.to_string(), Some(&l.ty), &r.ty));
        }
        let left = *op == B::PGBitwiseShiftLeft;
        let count = self.coerce(r, &PgType::Int4, CastContext::Implicit)?;
        let name = match (&l.ty, left) {
            (PgType::Int8, true) => "int8shl",
            (PgType::Int8, false) => "int8shr",
            (PgType::Int2, true) => "int2shl",
            (_, true) => "int4shl",
            (_, false) => "int4shr",
        };
        let ty = l.ty.clone();
        let result = self.call_builtin(name, vec![l, count])?;
        self.convert(result, &ty, false)
    }

    fn bitwise(&mut self, l: Bound, op: &B, r: Bound) -> Result<Bound, SqlError> {
        let operator = match op {
            B::BitwiseAnd => Operator::BitwiseAnd,
            B::BitwiseOr => Operator::BitwiseOr,
            B::PGBitwiseXor => Operator::BitwiseXor,
            _ => return self.bits_shifted(l, op, r),
        };
        let (lt, rt) = (l.ty.clone(), r.ty.clone());
        let ty = match (is_integer(&lt), is_integer(&rt)) {
            (true, true) if super::operators::width(&lt) >= super::operators::width(&rt) => lt,
            (true, true) => rt,
            (true, false) if rt == PgType::Unknown => lt,
            (false, true) if lt == PgType::Unknown => rt,
            _ => return Err(undefined_operator(&op.to_string(), Some(&lt), &rt)),
        };
        let l = self.coerce(l, &ty, CastContext::Implicit)?;
        let r = self.coerce(r, &ty, CastContext::Implicit)?;
        Ok(Bound::new(binary(l.expr, operator, r.expr), ty))
    }

    fn between(
        &mut self,
        expr: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Expr, SqlError> {
        let low = self.comparison(expr, Operator::GtEq, low, env)?;
        let high = self.comparison(expr, Operator::LtEq, high, env)?;
        Ok(binary(low.expr, Operator::And, high.expr))
    }

    /// A comparison, of rows too.
    pub(super) fn comparison(
        &mut self,
        left: &ast::Expr,
        op: Operator,
        right: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if let (Some(l), Some(r)) = (row(left), row(right)) {
            return self.compare_rows(l, op, r, left, env);
        }
        if let (Some(fields), ast::Expr::Subquery(query)) = (row(left), strip(right)) {
            return self.compare_with_row_of(fields, op, query, left, env);
        }
        let l = self.expr(left, env)?;
        let r = self.expr(right, env)?;
        self.compare(l, op, r)
            .map_err(|e| self.locate_operator(e, left, &super::operators::symbol(&op), right))
    }

    fn unary_op(
        &mut self,
        op: UnaryOperator,
        expr: &ast::Expr,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        match op {
            UnaryOperator::Not => {
                Ok(Bound::bool(Expr::Not(Box::new(self.boolean(expr, "NOT", env)?))))
            }
            UnaryOperator::Minus => {
                if let Some(literal) = super::literals::negative(expr) {
                    return literal;
                }
                let bound = self.expr(expr, env)?;
                self.negate(bound).map_err(|e| self.locate(e, expr))
            }
            UnaryOperator::Plus => {
                let bound = self.expr(expr, env)?;
                if super::coerce::category(&bound.ty) != 'N' {
                    return Err(self.locate(undefined_operator("+", None, &bound.ty), expr));
                }
                Ok(bound)
            }
            UnaryOperator::PGSquareRoot | UnaryOperator::PGCubeRoot | UnaryOperator::PGAbs => {
                let name = match op {
                    UnaryOperator::PGSquareRoot => "sqrt",
                    UnaryOperator::PGCubeRoot => "cbrt",
                    _ => "abs",
                };
                let mut bound = self.expr(expr, env)?;
                // The functions are there for numeric, too, the operators are not.
                if name != "abs" {
                    bound = self.coerce(bound, &PgType::Float8, CastContext::Implicit)?;
                }
                self.call_builtin(name, vec![bound])
            }
            UnaryOperator::BitwiseNot => self.bitwise_not(expr, env),
            other => Err(self.refuse(expr, &format!("operator {other}"))),
        }
    }

    fn in_list(
        &mut self,
        expr: &ast::Expr,
        list: &[ast::Expr],
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        if row(expr).is_none() {
            let left = self.expr(expr, env)?;
            let mut items = Vec::with_capacity(list.len());
            for item in list {
                items.push(self.expr(item, env)?);
            }
            return self
                .in_values(left, items, negated)
                .map_err(|e| self.locate_literal(e, list, Some(expr)));
        }
        let mut any: Option<Expr> = None;
        for item in list {
            let equal = self.comparison(expr, Operator::Eq, item, env)?.expr;
            any = Some(match any {
                None => equal,
                Some(before) => binary(before, Operator::Or, equal),
            });
        }
        let any = any.ok_or_else(|| self.refuse(expr, "IN over nothing"))?;
        Ok(Bound::bool(negate_if(negated, any)))
    }

    /// `left [NOT] IN (items)`.
    pub(super) fn in_values(
        &mut self,
        left: Bound,
        items: Vec<Bound>,
        negated: bool,
    ) -> Result<Bound, SqlError> {
        let mut equals = Vec::with_capacity(items.len());
        for item in items {
            equals.push(self.compare(left.clone(), Operator::Eq, item)?.expr);
        }
        // Same left side everywhere: one list, which DataFusion looks up in a set.
        let mut list = Vec::with_capacity(equals.len());
        let mut common: Option<Expr> = None;
        let uniform = equals.len() > 1
            && equals.iter().all(|equal| match equal {
                Expr::BinaryExpr(b) if b.op == Operator::Eq => {
                    let same = common.get_or_insert_with(|| (*b.left).clone()) == b.left.as_ref();
                    list.push((*b.right).clone());
                    same && matches!(*b.right, Expr::Literal(..) | Expr::Placeholder(_))
                }
                _ => false,
            });
        if uniform && let Some(common) = common {
            return Ok(Bound::bool(Expr::InList(InList::new(Box::new(common), list, negated))));
        }
        let any = equals.into_iter().reduce(|a, b| binary(a, Operator::Or, b));
        let any = any.unwrap_or(Expr::Literal(ScalarValue::Boolean(Some(false)), None));
        Ok(Bound::bool(negate_if(negated, any)))
    }

    /// The text of an ESCAPE clause; inside, `None` for NULL.
    fn escape_text(escape: Option<&ast::ValueWithSpan>) -> Result<Option<Option<&str>>, SqlError> {
        let Some(escape) = escape else { return Ok(None) };
        match &escape.value {
            ast::Value::SingleQuotedString(s) | ast::Value::EscapedStringLiteral(s) => {
                Ok(Some(Some(s)))
            }
            ast::Value::Null => Ok(Some(None)),
            other => Err(SqlError::not_supported(format!("ESCAPE {other}"))),
        }
    }

    fn like(
        &mut self,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
        ignore_case: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let left = self.expr(expr, env)?;
        let right = self.expr(pattern, env)?;
        let escape = match Self::escape_text(escape)? {
            None => Some('\\'),
            Some(Some(text)) => pattern::escape_character(text)?,
            // The pattern is NULL then.
            Some(None) => {
                let null = Bound::new(self.null(&PgType::Text)?, PgType::Text);
                return self.like_bound(left, null, None, negated, ignore_case);
            }
        };
        self.like_bound(left, right, Some(escape), negated, ignore_case)
            .map_err(|e| self.locate(e, expr))
    }

    pub(super) fn like_bound(
        &mut self,
        left: Bound,
        right: Bound,
        escape: Option<Option<char>>,
        negated: bool,
        ignore_case: bool,
    ) -> Result<Bound, SqlError> {
        let symbol = match (ignore_case, negated) {
            (false, false) => "~~",
            (false, true) => "!~~",
            (true, false) => "~~*",
            (true, true) => "!~~*",
        };
        let bytes = |bound: &Bound| matches!(bound.ty, PgType::Bytea | PgType::Unknown);
        if !ignore_case
            && (left.ty == PgType::Bytea || right.ty == PgType::Bytea)
            && (bytes(&left) && bytes(&right))
        {
            let left = self.call_builtin(BYTES_AS_TEXT, vec![left])?;
            let right = self.call_builtin(BYTES_AS_TEXT, vec![right])?;
            return self.like_bound(left, right, escape, negated, false);
        }
        if !is_text(&left.ty) || !is_text(&right.ty) {
            return Err(undefined_operator(symbol, Some(&left.ty), &right.ty));
        }
        let escape = escape.unwrap_or(Some('\\'));
        // `char(n)` is matched with its blanks.
        let left = match left.ty {
            PgType::Bpchar(_) => self.padded(left)?,
            _ => self.text_operand(left)?,
        };
        let right = self.text_operand(right)?;
        let right = match right {
            Expr::Literal(ScalarValue::Utf8View(Some(text)), _) => {
                let text = pattern::like_with_backslash(&text, escape)?;
                Expr::Literal(ScalarValue::Utf8View(Some(text)), None)
            }
            null @ Expr::Literal(..) => null,
            other => {
                let udf = pattern::checked_like_pattern(escape);
                scalar::call(&udf, vec![other])
            }
        };
        let like = Like::new(negated, Box::new(left), Box::new(right), None, ignore_case);
        Ok(Bound::bool(Expr::Like(like)))
    }

    /// `char(n)` with its blanks, as output and patterns have it.
    pub(super) fn padded(&mut self, bound: Bound) -> Result<Expr, SqlError> {
        Ok(self.convert(bound, &PgType::Bpchar(None), false)?.expr)
    }

    fn similar_to(
        &mut self,
        expr: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::ValueWithSpan>,
        negated: bool,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let left = self.expr(expr, env)?;
        let mut args = vec![self.expr(pattern, env)?];
        match Self::escape_text(escape)? {
            None => {}
            Some(Some(text)) => args.push(Bound::text(text)),
            Some(None) => args.push(Bound::new(self.null(&PgType::Text)?, PgType::Text)),
        }
        let regex = self.call_builtin("similar_to_escape", args)?;
        self.regex(left, regex, false, negated).map_err(|e| self.locate(e, expr))
    }

    fn regex(
        &mut self,
        left: Bound,
        right: Bound,
        ignore_case: bool,
        negated: bool,
    ) -> Result<Bound, SqlError> {
        let symbol = match (negated, ignore_case) {
            (false, false) => "~",
            (false, true) => "~*",
            (true, false) => "!~",
            (true, true) => "!~*",
        };
        if !is_text(&left.ty) || !is_text(&right.ty) {
            return Err(undefined_operator(symbol, Some(&left.ty), &right.ty));
        }
        let left = match left.ty {
            PgType::Bpchar(_) => self.padded(left)?,
            _ => self.text_operand(left)?,
        };
        let right = self.text_operand(right)?;
        let udf = pattern::regex_match(ignore_case);
        Ok(Bound::bool(negate_if(negated, scalar::call(&udf, vec![left, right]))))
    }

    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        else_result: Option<&ast::Expr>,
        env: &Env<'_>,
    ) -> Result<Bound, SqlError> {
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        // An untyped literal there is text whatever it is compared with.
        let untyped = match operand.map(|operand| (operand, strip(operand))) {
            Some((operand, ast::Expr::Value(_))) => {
                Some(self.expr(operand, env)?).filter(|bound| bound.ty == PgType::Unknown)
            }
            _ => None,
        };
        for when in conditions {
            whens.push(match operand {
                Some(operand) if let Some(text) = &untyped => {
                    let text = self.coerce(text.clone(), &PgType::Text, CastContext::Implicit)?;
                    let right = self.expr(&when.condition, env)?;
                    let compared = self.compare(text, Operator::Eq, right);
                    compared
                        .map_err(|e| self.locate_operator(e, operand, "=", &when.condition))?
                        .expr
                }
                Some(operand) => self.comparison(operand, Operator::Eq, &when.condition, env)?.expr,
                None => self.boolean(&when.condition, "CASE/WHEN", env)?,
            });
            results.push(self.expr(&when.result, env)?);
        }
        // ELSE has the first word on the type.
        let has_else = else_result.is_some();
        if let Some(result) = else_result {
            results.insert(0, self.expr(result, env)?);
        }
        let of_case = conditions.iter().map(|when| &when.result).chain(else_result);
        let (mut values, ty) = self
            .unify(results, "CASE", env.summed)
            .map_err(|e| self.locate_literal(e, of_case, None))?;
        // Without ELSE there is a NULL, which has no length.
        let ty = match ty {
            PgType::Varchar(_) if !has_else => PgType::Varchar(None),
            ty => ty,
        };
        let otherwise = if has_else { Some(values.remove(0)) } else { None };
        let whens = whens.into_iter().map(Box::new);
        let pairs = whens.zip(values.into_iter().map(Box::new)).collect();
        let case = Case::new(None, pairs, otherwise.map(Box::new));
        Ok(Bound::new(Expr::Case(case), ty))
    }

    /// Casts all to their common type. `summed`: decimals of different scales may share a column.
    pub(super) fn unify(
        &mut self,
        bounds: Vec<Bound>,
        what: &str,
        summed: bool,
    ) -> Result<(Vec<Expr>, PgType), SqlError> {
        let bounds: Vec<_> = if summed {
            let any_numeric = bounds.iter().any(|b| matches!(b.ty, PgType::Numeric(Some(_))));
            let narrow = super::literals::narrow_constant;
            bounds
                .into_iter()
                .map(|b| if any_numeric && is_integer(&b.ty) { narrow(b) } else { b })
                .collect()
        } else {
            bounds
        };
        let types: Vec<_> = bounds.iter().map(|b| b.ty.clone()).collect();
        let mut ty = self.common_type(&types, what)?;
        // An untyped literal has no length or scale: neither has what it mixes with.
        let literal = |b: &Bound| b.ty == PgType::Unknown && !matches!(ty, PgType::Numeric(_));
        let shown = |b: &Bound| b.ty == PgType::Unknown && b.constant_text().is_some();
        if !summed && bounds.iter().any(|b| literal(b) || shown(b)) {
            ty = super::bound::base(&ty);
        }
        if summed
            && ty == PgType::Numeric(None)
            && let Some(shape) = types
                .iter()
                .filter(|t| **t != PgType::Unknown)
                .map(super::coerce::shape_of)
                .reduce(|a, b| super::coerce::common_shape(a?, b?))
                .flatten()
        {
            ty = PgType::Numeric(Some(shape));
        }
        let mut exprs = Vec::with_capacity(bounds.len());
        for bound in bounds {
            exprs.push(match (&ty, super::coerce::shape_of(&bound.ty)) {
                (PgType::Numeric(Some(shape)), Some(_)) => self.shaped(bound, *shape)?,
                _ => self.coerce(bound, &ty, CastContext::Implicit)?.expr,
            });
        }
        Ok((exprs, ty))
    }
}

/// The fields of `(a, b)` or `ROW(a, b)`.
pub(super) fn row(expr: &ast::Expr) -> Option<&[ast::Expr]> {
    match expr {
        ast::Expr::Tuple(fields) => Some(fields),
        ast::Expr::Nested(inner) => row(inner),
        _ => None,
    }
}

pub(super) fn strip(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Nested(inner) => strip(inner),
        other => other,
    }
}

/// `a = b` without parentheses.
fn is_comparison(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::BinaryOp { op, .. } if comparison_operator(op).is_some())
}

/// The lower bound of BETWEEN SYMMETRIC, which the parser marks.
fn symmetric_bound(low: &ast::Expr) -> Option<&ast::Expr> {
    let ast::Expr::Function(function) = low else { return None };
    let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    if name.value != parser::SYMMETRIC {
        return None;
    }
    match &function.args {
        ast::FunctionArguments::List(list) => match list.args.as_slice() {
            [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(low))] => Some(low),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn negate_if(negated: bool, expr: Expr) -> Expr {
    if negated { Expr::Not(Box::new(expr)) } else { expr }
}

pub(super) fn comparison_operator(op: &B) -> Option<Operator> {
    Some(match op {
        B::Eq => Operator::Eq,
        B::NotEq => Operator::NotEq,
        B::Lt => Operator::Lt,
        B::LtEq => Operator::LtEq,
        B::Gt => Operator::Gt,
        B::GtEq => Operator::GtEq,
        _ => return None,
    })
}
