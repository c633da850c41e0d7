// Package policylang is the vocabulary of Postern's policy language: the
// objects of a [Policy], who asks ([Subject]), what a statement does ([Facts]),
// what is asked ([Request]) and answered ([Decision]), and what is wrong with a
// policy ([Problem]). It uses the standard library alone and does no I/O.
//
// Policy files and Terraform both become a Policy, under the names of its
// canonical encoding. The steps that work on all this are the sub-packages.
package policylang
