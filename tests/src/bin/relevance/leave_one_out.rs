//! How well weights do that were chosen without looking: those with the best mean on all collections but one, on that one.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use shared::search::fusion::{Weights, fuse};
use tests::judged::measures::gain;

use crate::ablation::{Judged, mean};

/// Prints, for each collection, the weights that the others would choose, and what they reach there.
pub(crate) fn print(collections: &[(String, Vec<Judged>)]) {
    let measured = |weights: Weights| {
        let by_collection: Vec<f64> = collections.iter().map(|(_, queries)| ndcg(queries, &weights)).collect();
        (weights, by_collection)
    };
    let rows: Vec<(Weights, Vec<f64>)> = grid().into_iter().map(measured).collect();
    println!("\nOf {} choices of weights, the one with the best mean nDCG@10 on the other collections:", rows.len());
    println!("{:<20} {:<8} {:<8} {:<8} chosen", "left out", "reaches", "used", "best");
    for (left_out, (name, queries)) in collections.iter().enumerate() {
        let on_others = |row: &[f64]| mean(&[&row[..left_out], &row[left_out + 1..]].concat());
        let Some((chosen, row)) = rows.iter().max_by(|(_, a), (_, b)| on_others(a).total_cmp(&on_others(b))) else {
            return;
        };
        println!(
            "{name:<20} {:<8.3} {:<8.3} {:<8.3} semantic {} + {} x lead, its title {}, keyword title {}",
            row[left_out],
            ndcg(queries, &Weights::default()),
            rows.iter().map(|(_, row)| row[left_out]).fold(0.0, f64::max),
            chosen.semantic,
            chosen.semantic_lead,
            chosen.semantic_title,
            chosen.keyword_title
        );
    }
}

/// Around the weights that are used, and far from them.
fn grid() -> Vec<Weights> {
    let mut grid = Vec::new();
    for semantic in [0.5, 0.55, 0.6, 0.65, 0.7] {
        for semantic_lead in [0.0, 0.5, 1.0, 1.5] {
            for semantic_title in [0.0, 0.1, 0.15, 0.2] {
                for keyword_title in [0.0, 0.1, 0.2, 0.3] {
                    let weights = Weights::default();
                    grid.push(Weights { semantic, semantic_lead, semantic_title, keyword_title, ..weights });
                }
            }
        }
    }
    grid
}

fn ndcg(queries: &[Judged], weights: &Weights) -> f64 {
    let of_query = |query: &Judged| {
        let mut fused =
            fuse(query.candidates.iter().map(|(grade, evidence, _)| (*grade, *evidence)).collect(), weights);
        fused.sort_by(|(.., a), (.., b)| b.total_cmp(a));
        gain(&fused.into_iter().map(|(grade, ..)| grade).collect::<Vec<_>>()) / query.ideal
    };
    mean(&queries.iter().map(of_query).collect::<Vec<_>>())
}
